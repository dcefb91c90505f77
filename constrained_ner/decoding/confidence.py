"""Confidence: how sure the model is of a choice, and of a mention.

A mention is written by a few decisions, from the token that opens its tag to the one that closes it. Each is
a choice among the legal tokens. The product of their probabilities is the probability that the model writes
exactly this mention here. It depends only on the decisions' margins, so these are kept: a temperature can be
fitted to them and applied without the model (`evaluation.calibration`).

A temperature divides the logits (Guo et al. 2017, "On calibration of modern neural networks"). Above 1 it
lowers confidences, below 1 it raises them. It never changes which token is the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Margins = Sequence[float]
"""Of one decision: the logits of the legal tokens that were not chosen, minus that of the chosen one."""


def log_probability(margins: Margins, temperature: float = 1.0) -> float:
    """The log probability of the chosen token among the legal ones.

    Example: log_probability([0.0]) -> log(1/2); log_probability([]) -> 0.0, there was no choice.
    """
    scaled = [margin / temperature for margin in margins]
    highest = max([0.0, *scaled])
    return -(highest + math.log(math.exp(-highest) + sum(math.exp(margin - highest) for margin in scaled)))


def confidence(decisions: Iterable[Margins], temperature: float = 1.0) -> float:
    """The probability of all decisions that wrote a mention, in [0, 1]."""
    return math.exp(sum(log_probability(margins, temperature) for margins in decisions))


WORTH_KEEPING = 0.4
"""The confidence from which a mention is worth keeping, for an F1 between 0.8 and 0.9.

F1 is highest if exactly those mentions are kept whose probability of being right is at least half of that F1
(Lipton et al. 2014, "Optimal thresholding of classifiers to maximize F1 measure").
"""


ROUNDING = 0.001
"""How much a confidence may differ between processors, which add up in another order."""


def reaches(confidence: float, least: float) -> bool:
    """Whether a confidence is at least so much, or below by no more than rounding.

    A mention that sits on the threshold is kept on every processor.
    Example: reaches(0.3996, 0.4) -> True
    """
    return confidence >= least - ROUNDING


def least_confidence(temperature: float | None) -> float:
    """The default threshold below which mentions are left out: 0 if no temperature was fitted.

    Confidences that have not been calibrated may be far too low, and most mentions would be lost.
    """
    return 0.0 if temperature is None else WORTH_KEEPING
