"""A model made from a function: the back end for testing decoders.

It really keeps the tokens of every slot, so a decoder that keeps one token too many gets different scores, as
it would from a cache. It is not fast: the scores of every position are computed over the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import Vocabulary
from .protocol import Scores, Step
from .scoring import check_prefix, check_steps, score_rows

Score = Callable[[tuple[int, ...]], NDArray[np.float32]]
"""All tokens so far, prefix included -> float32 logits, shape (vocabulary,)."""


def seeded_score(n_vocabulary: int, *, seed: int = 0, n_context: int = 4, scale: float = 4.0) -> Score:
    """Random logits that depend only on the seed and the last `n_context` ids."""

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        generator = np.random.default_rng([seed, *ids[-n_context:]])
        row: NDArray[np.float32] = np.float32(scale) * generator.random(n_vocabulary, dtype=np.float32)
        return row

    return score


class FakeBackend:
    """A LogitsBackend whose logits are `score(all tokens so far)`.

    n_passes, n_tokens: forward passes so far, and the tokens that they appended. n_prefilled: tokens of
        prefixes. passes: the steps of every forward pass, for tests that look closely.
    """

    shows_logits: Literal[True] = True
    thread_safe = False
    adapter_card: str | None = None
    base_model: str | None = None

    def __init__(
        self,
        vocabulary: Vocabulary,
        score: Score | None = None,
        *,
        context_length: int = 4096,
        max_sequences: int = 4,
        chat_template: str | None = None,
        temperature: float | None = None,
        draft_horizon: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.context_length = context_length
        self.max_sequences = max_sequences
        self.chat_template = chat_template
        self.temperature = temperature
        self.draft_horizon = draft_horizon
        self.identity = {"backend": "fake"}
        self.description = {"name": "fake", **self.identity}
        self.score = score or seeded_score(len(vocabulary))
        self.passes: list[list[Step]] = []
        self.n_tokens = self.n_prefilled = 0
        self._prefix: tuple[int, ...] = ()
        self._slots: list[list[int]] = [[] for _ in range(max_sequences)]

    @property
    def n_passes(self) -> int:
        return len(self.passes)

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        check_prefix(prefix_ids, self.context_length)
        self._prefix = tuple(prefix_ids)
        self._slots = [[] for _ in range(self.max_sequences)]
        self.n_prefilled += len(self._prefix)

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        check_steps(steps, [len(slot) for slot in self._slots], len(self._prefix), self.context_length)
        self.passes.append(list(steps))
        self.n_tokens += sum(len(step.token_ids) for step in steps)
        return [self._advance(step) for step in steps]

    def _advance(self, step: Step) -> list[Scores | None]:
        slot = self._slots[step.sequence]
        del slot[step.keep :]
        scores: list[Scores | None] = []
        for token_id, watch in zip(step.token_ids, step.watch, strict=True):
            slot.append(token_id)
            scores.append(None if watch is None else self._score(slot, watch, step.summary))
        return scores

    def _score(self, slot: list[int], watch: Sequence[int], summary: bool) -> Scores:
        row = self.score((*self._prefix, *slot))
        return score_rows(row[None, :], [watch], [summary])[0]

    def close(self) -> None:
        self._slots = []
