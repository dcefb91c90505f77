"""How sure the model is of what it chose, and of a mention.

A mention is written by a few decisions, from the token that opens its tag to the one that closes it. Each is
a choice among the legal tokens, and the product of their probabilities is the probability that the model
writes just this mention here. All that it depends on is the decisions' margins, so they are kept: without the
model a temperature can be fitted to them, and applied (`evaluation.calibration`).

A temperature divides the logits (Guo et al. 2017, "On calibration of modern neural networks"). It makes
confidences smaller (above 1) or larger (below 1) and never changes which token is the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Margins = Sequence[float]
"""Of one decision: the logits of the legal tokens that were not chosen, minus that of the one that was."""


def log_probability(margins: Margins, temperature: float = 1.0) -> float:
    """Of the chosen token among the legal ones.

    Example: log_probability([0.0]) -> log(1/2); log_probability([]) -> 0.0, there was no choice.
    """
    scaled = [margin / temperature for margin in margins]
    highest = max([0.0, *scaled])
    return -(highest + math.log(math.exp(-highest) + sum(math.exp(margin - highest) for margin in scaled)))


def confidence(decisions: Iterable[Margins], temperature: float = 1.0) -> float:
    """The probability of all the decisions that wrote a mention, in [0, 1]."""
    return math.exp(sum(log_probability(margins, temperature) for margins in decisions))


WORTH_KEEPING = 0.4
"""F1 is largest where mentions are kept that are right with a probability of at least half of that F1.

For an F1 between 0.8 and 0.9. Source: Lipton et al. 2014, "Optimal thresholding of classifiers to maximize F1
measure".
"""


def least_confidence(temperature: float) -> float:
    """From which confidence on mentions are kept, if nobody says: 0 where no temperature was fitted.

    Confidences that nobody has calibrated may be much too low, and most mentions would be lost.
    """
    return 0.0 if temperature == 1.0 else WORTH_KEEPING
