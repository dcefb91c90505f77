"""Legal mass: the share of the model's probability, over its whole vocabulary, that is on legal tokens.

Near 1 the model would have written a legal token anyway; near 0 the constraint forced its hand. It changes no
answer, and needs a sum over the vocabulary at every decision, so it is computed only if it is asked for:

    Settings.legal_mass -> decoder(summary) -> Extend, Step -> Scores.logsumexp -> Choice.legal_mass
    -> Effort.legal_mass -> RunRecord.legal_share

Whatever holds it holds None if it was not computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .confidence import Margins, log_probability


def legal_mass(logit: float, margins: Margins, logsumexp: float | None) -> float | None:
    """The legal share of the probability at one decision, in [0, 1]; None without a `logsumexp`.

    logit: of the chosen token. margins: of the other legal tokens (see `confidence`).
    logsumexp: of all logits of the vocabulary.

    Example: two legal tokens with probability 0.3 each -> 0.6
    """
    if logsumexp is None:
        return None
    # P(chosen) / P(chosen | legal) = P(legal), in logarithms
    return min(1.0, math.exp(logit - log_probability(margins) - logsumexp))


def total(masses: Iterable[float | None]) -> float | None:
    """The sum over decisions, or over what they were added up to; None if one of them was not computed."""
    known = list(masses)
    return None if None in known else sum((mass for mass in known if mass is not None), 0.0)
