"""The first stage: copying random strings, which get longer as the model learns.

A model trained only on tagged sentences decides from what is to the left and never looks up its place in the
prompt. Random strings can only be predicted by copying, so they teach it to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..batches import Example
from .tokenizer import TagIds

TAG_EVERY = 30
"""Copied tokens per tag: copying must survive tags between the words. The tags teach nothing here."""

FROM_THE_MIDDLE = 0.7
"""Share of the copies that begin at a random token: counting positions cannot solve those."""


@dataclass(frozen=True)
class Curriculum:
    """Length of the strings. It grows by a third whenever the loss falls below `learnt`."""

    length: float = 4.0
    longest: float = 160.0
    learnt: float = 0.6

    def after(self, loss: float) -> Curriculum:
        """Return the curriculum to go on with after a chunk with this mean loss."""
        if loss >= self.learnt:
            return self
        return Curriculum(min(self.length * 4 / 3, self.longest), self.longest, self.learnt)


def random_copies(
    n: int,
    length: float,
    *,
    n_text_tokens: int,
    separator: int,
    end: int,
    tags: TagIds,
    rng: np.random.Generator,
) -> list[Example]:
    """Make strings of `length / 2` to `length` tokens, each copied after the separator, with some tags."""
    examples = []
    for n_tokens in rng.integers(max(2, int(length / 2)), int(length) + 1, n):
        text = [int(token) for token in rng.integers(0, n_text_tokens, n_tokens)]
        first = int(rng.integers(n_tokens - 1)) if rng.random() < FROM_THE_MIDDLE else 0
        answer, unpredicted = _with_tags(text[first:], len(text) + 1, tags, rng)
        unpredicted += range(len(text))
        if first:  # nothing says which token the copy begins with
            unpredicted += [len(text) + 1, len(text) + 2]
        examples.append(Example((*text, separator, *answer, end), len(text) + 1, (), frozenset(unpredicted)))
    return examples


def _with_tags(
    text: Sequence[int], start: int, tags: TagIds, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Tag random names. Returns the tokens, and the positions of the tags counted from `start`."""
    answer: list[int] = []
    positions: list[int] = []
    opens = (tags.open_after_space, tags.open_bare)
    remaining, kind = 0, -1
    for token in text:
        if kind < 0 and rng.random() < 1 / TAG_EVERY:
            kind, remaining = int(rng.integers(len(tags.close))), int(rng.integers(1, 4))
            positions.append(start + len(answer))
            answer.append(opens[int(rng.random() < 0.2)][kind])
        answer.append(token)
        remaining -= 1
        if kind >= 0 and remaining <= 0:
            positions.append(start + len(answer))
            answer.append(tags.close[kind])
            kind = -1
    if kind >= 0:
        positions.append(start + len(answer))
        answer.append(tags.close[kind])
    return answer, positions
