"""The seam between decoding and models: what a decoder may ask of a model whose logits we see.

A back end knows tokens and logits. It knows neither sentences nor schemas nor tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import Vocabulary


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


def score_row(row: NDArray[np.float32], watch: Sequence[int]) -> Scores:
    """The scores of one position. row: logits over the whole vocabulary, shape (vocabulary,)."""
    best = int(row.argmax())
    peak = row[best]
    # numpy sums pairwise, so float32 is exact to about 1e-6 here, and half the memory traffic of float64
    logsumexp = float(peak) + float(np.log(np.exp(row - peak).sum()))
    return Scores(logits=row[np.asarray(watch, dtype=np.intp)], logsumexp=logsumexp, best=best)


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
