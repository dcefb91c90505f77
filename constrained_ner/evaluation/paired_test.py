"""Whether one system is better than another on the same gold: the paired bootstrap.

Both systems are counted on the same draws of sentences, so what is hard for both cancels out. If the interval
of the difference excludes 0, the better system is likely to be better on other sentences, too.
"""

from __future__ import annotations

import numpy as np

from .intervals import N_RESAMPLES, Floats, Intervals, SentenceCounts, f1_scores, resampled


def paired_difference(
    one: SentenceCounts, other: SentenceCounts, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Intervals:
    """F1 of `one` minus F1 of `other`, with 95 % intervals.

    Raises ValueError if the two were counted against different gold.
    """
    if one.types != other.types:
        raise ValueError(f"counts of different gold: its types are {one.types} and {other.types}")
    n_sentences = max(len(one.counts), len(other.counts))  # predictions of unknown sentences add rows
    rows = np.concatenate([one.rows(n_sentences), other.rows(n_sentences)], axis=1)

    def difference(sums: Floats) -> Floats:
        first, second = np.split(sums, 2, axis=1)
        return f1_scores(first) - f1_scores(second)

    return resampled(difference, rows, one.types, n_resamples=n_resamples, seed=seed)
