"""The first stage: copying random strings, growing longer as they are learnt.

A model that is trained on tagged sentences alone tags from what is to the left and never looks at its place
in the prompt. Strings that nothing but copying can predict teach it to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..batches import Example
from .tokenizer import TagIds

TAG_EVERY = 30
"""Copied tokens to a tag: the copy must survive tags between its words, which teach nothing here."""

FROM_THE_MIDDLE = 0.7
"""Share of the copies that begin at a random token: counting places cannot solve them, finding it can."""


@dataclass(frozen=True)
class Curriculum:
    """The length of the strings: it grows by a third whenever the loss falls below `learnt`."""

    length: float = 4.0
    longest: float = 160.0
    learnt: float = 0.6

    def after(self, loss: float) -> Curriculum:
        """The curriculum after a stretch of training with this mean loss."""
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
    """Strings of half the length up to the length, each copied after the separator, some tags between."""
    examples = []
    for n_tokens in rng.integers(max(2, int(length / 2)), int(length) + 1, n):
        text = [int(token) for token in rng.integers(0, n_text_tokens, n_tokens)]
        first = int(rng.integers(n_tokens - 1)) if rng.random() < FROM_THE_MIDDLE else 0
        answer, unpredicted = _with_tags(text[first:], len(text) + 1, tags, rng)
        unpredicted += range(len(text))
        if first:  # which token the copy begins with cannot be known
            unpredicted += [len(text) + 1, len(text) + 2]
        examples.append(Example((*text, separator, *answer, end), len(text) + 1, (), frozenset(unpredicted)))
    return examples


def _with_tags(
    text: Sequence[int], start: int, tags: TagIds, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """The text with random names tagged, and the positions of the tags counted from `start`."""
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
