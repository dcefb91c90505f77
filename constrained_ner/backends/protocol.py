"""The seam between decoding and models: what a decoder may ask of a model whose logits we see.

A back end knows tokens and logits. It knows neither sentences nor schemas nor tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..vocabulary import Vocabulary

NOT_NUMBERS = "the model's logits are not numbers: its weights are damaged, or overflow"
_CACHED_NUMBERS = 1 << 17  # 512 KiB of float32


@dataclass(frozen=True, slots=True)
class Step:
    """One sequence's share of a forward pass.

    sequence: slot number, 0 <= sequence < max_sequences.
    keep: how many of the tokens that this slot holds after the shared prefix stay in the cache; the rest
        is dropped first. 0 begins a new sequence.
    token_ids: what to append; at least one.
    watch: per appended token, the ids whose logits are wanted for the position after it, or None where
        nothing is. An empty sequence asks for the whole vocabulary's summary alone.
    """

    sequence: int
    keep: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of the token after one position.

    logits: float32, shape (number of watched ids,), in their order.
    logsumexp: over the whole vocabulary, so exp(logits - logsumexp) are probabilities.
    best: the id with the highest logit of the whole vocabulary (the lowest such id).
    """

    logits: NDArray[np.float32]
    logsumexp: float
    best: int


class LogitsBackend(Protocol):
    """A model on this machine.

    context_length: the most tokens that a slot may hold, shared prefix included.
    chat_template: the model's own (Jinja), None if it has none.
    """

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def context_length(self) -> int: ...

    @property
    def max_sequences(self) -> int: ...

    @property
    def chat_template(self) -> str | None: ...

    @property
    def temperature(self) -> float:
        """What to divide logits by so that probabilities are true; 1 where none is stored with the model."""

    @property
    def description(self) -> dict[str, str]:
        """What a run's record says of the model: name, hash, precision, device, library version."""

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        """Compute the prefix that all sequences share, once; every slot is empty after it.

        May be called again. What the new prefix has in common with the old one need not be computed again.
        """

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        """One forward pass over at most max_sequences steps, each of another slot.

        Returns, per step and per appended token, the scores that were asked for.
        """

    def close(self) -> None:
        """Give back the memory."""


def score_rows(rows: NDArray[np.float32], watches: Sequence[Sequence[int]]) -> list[Scores]:
    """The scores of some positions. rows: logits over the whole vocabulary, shape (positions, vocabulary).

    Raises ModelError where they are not numbers.
    """
    best = rows.argmax(axis=1)
    peaks = rows[np.arange(len(rows)), best]
    with np.errstate(invalid="ignore"):  # infinite logits: told of below
        logsumexps = peaks + np.log(_sums_of_exponentials(rows, peaks))
    if not np.isfinite(logsumexps).all():
        raise ModelError(NOT_NUMBERS)
    lengths = [len(watch) for watch in watches]
    columns = np.fromiter(chain.from_iterable(watches), dtype=np.intp, count=sum(lengths))
    logits = rows[np.repeat(np.arange(len(rows)), lengths), columns]
    scores = []
    end = 0
    for n_ids, logsumexp, top in zip(lengths, logsumexps.tolist(), best.tolist(), strict=True):
        scores.append(Scores(logits[end : end + n_ids], logsumexp, top))
        end += n_ids
    return scores


def _sums_of_exponentials(rows: NDArray[np.float32], peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per row, the sum of exp(logit - peak)."""
    sums = np.empty(len(rows), dtype=np.float32)
    n_block = max(1, _CACHED_NUMBERS // rows.shape[1])  # the scratch array stays in the processor's cache
    for start in range(0, len(rows), n_block):
        block = rows[start : start + n_block] - peaks[start : start + n_block, None]
        np.exp(block, out=block)
        block.sum(axis=1, out=sums[start : start + n_block])  # numpy sums pairwise: exact to about 1e-6
    return sums


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences have in common from their start."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length


def check_prefix(prefix_ids: Sequence[int], context_length: int) -> None:
    """Refuse a prefix that leaves no room for a token after it: ValueError, a fault of the caller."""
    if len(prefix_ids) >= context_length:
        raise ValueError(f"a prefix of {len(prefix_ids)} tokens in a context of {context_length}")


def check_steps(
    steps: Sequence[Step], lengths: Sequence[int], prefix_length: int, context_length: int
) -> None:
    """Refuse steps that no back end could carry out: ValueError, a fault of the caller.

    lengths: per slot, the tokens that it holds after the prefix.
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
