"""What the local back ends share: scores from rows of logits, and checks of what they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .protocol import Scores, Step

NOT_NUMBERS = "the model's logits are not numbers: its weights are damaged, or they overflow"
_CACHED_NUMBERS = 1 << 17  # 512 KiB of float32


def score_rows(
    rows: NDArray[np.float32], watches: Sequence[Sequence[int]], summaries: Sequence[bool]
) -> list[Scores]:
    """The scores of several positions. Raises ModelError if the logits are not numbers.

    rows: logits over the whole vocabulary, shape (positions, vocabulary).
    summaries: which positions want the summary over it. What is not wanted is not computed.
    """
    lengths = [len(watch) for watch in watches]
    columns = np.fromiter(chain.from_iterable(watches), dtype=np.intp, count=sum(lengths))
    logits = rows[np.repeat(np.arange(len(rows)), lengths), columns]
    if not np.isfinite(logits).all():
        raise ModelError(NOT_NUMBERS)
    wanted = np.flatnonzero(summaries)
    summarised = rows if len(wanted) == len(rows) else rows[wanted]
    return scores_of(logits, lengths, wanted.tolist(), *_summarise(summarised))


def scores_of(
    logits: NDArray[np.float32],
    lengths: Sequence[int],
    summarised: Sequence[int],
    logsumexps: Sequence[float],
    best: Sequence[int],
) -> list[Scores]:
    """The scores of several positions from all their watched logits, and from the summaries of some."""
    summaries = dict(zip(summarised, zip(logsumexps, best, strict=True), strict=True))
    ends = accumulate(lengths)
    return [
        Scores(logits[end - length : end], *summaries.get(position, (None, None)))
        for position, (length, end) in enumerate(zip(lengths, ends, strict=True))
    ]


def _summarise(rows: NDArray[np.float32]) -> tuple[list[float], list[int]]:
    """Per row, the log-sum-exp of the logits and the place of the highest."""
    if not len(rows):
        return [], []
    best = rows.argmax(axis=1)
    peaks = rows[np.arange(len(rows)), best]
    with np.errstate(invalid="ignore"):  # infinite logits are reported below
        logsumexps = peaks + np.log(_sums_of_exponentials(rows, peaks))
    if not np.isfinite(logsumexps).all():
        raise ModelError(NOT_NUMBERS)
    return logsumexps.tolist(), best.tolist()


def _sums_of_exponentials(rows: NDArray[np.float32], peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per row, the sum of exp(logit - peak)."""
    sums = np.empty(len(rows), dtype=np.float32)
    n_block = max(1, _CACHED_NUMBERS // rows.shape[1])  # the scratch array stays in the processor's cache
    for start in range(0, len(rows), n_block):
        block = rows[start : start + n_block] - peaks[start : start + n_block, None]
        np.exp(block, out=block)
        block.sum(axis=1, out=sums[start : start + n_block])  # pairwise summation: accurate to 1e-6
    return sums


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix of two sequences."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length


def check_prefix(prefix_ids: Sequence[int], context_length: int) -> None:
    """Raise ValueError for a prefix that leaves no room for a token after it."""
    if len(prefix_ids) >= context_length:
        raise ValueError(f"a prefix of {len(prefix_ids)} tokens in a context of {context_length}")


def check_steps(
    steps: Sequence[Step], lengths: Sequence[int], prefix_length: int, context_length: int
) -> None:
    """Raise ValueError for steps that no back end could carry out.

    lengths: per slot, the number of tokens that it holds after the prefix.
    """
    slots = [step.sequence for step in steps]
    if len(set(slots)) < len(slots):
        raise ValueError(f"two steps for one slot in {slots}")
    for step in steps:
        if not 0 <= step.sequence < len(lengths):
            raise ValueError(f"slot {step.sequence} of {len(lengths)}")
        if not 0 <= step.keep <= lengths[step.sequence]:
            raise ValueError(f"slot {step.sequence}: keep {step.keep} of {lengths[step.sequence]} tokens")
        if not step.token_ids or len(step.token_ids) != len(step.watch):
            raise ValueError(f"slot {step.sequence}: {len(step.token_ids)} tokens, {len(step.watch)} watches")
        if prefix_length + step.keep + len(step.token_ids) > context_length:
            raise ValueError(f"slot {step.sequence}: more than {context_length} tokens")
