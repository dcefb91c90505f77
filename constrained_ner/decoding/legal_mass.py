"""Legal mass: the share of the model's probability, over its whole vocabulary, that is on legal tokens.

Near 1 the model would have written a legal token anyway; near 0 the constraint forced its hand.
"""

from __future__ import annotations

import math

from .confidence import Margins, log_probability


def legal_mass(logit: float, margins: Margins, logsumexp: float) -> float:
    """The legal share of the probability at one decision, in [0, 1].

    logit: of the chosen token. margins: of the other legal tokens (see `confidence`).
    logsumexp: of all logits of the vocabulary.

    Example: two legal tokens with probability 0.3 each -> 0.6
    """
    # P(chosen) / P(chosen | legal) = P(legal), in logarithms
    return min(1.0, math.exp(logit - log_probability(margins) - logsumexp))
