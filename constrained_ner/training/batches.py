"""Training examples as arrays: token ids, which of them to predict over the vocabulary, and the decisions.

A batch holds sequences of similar length, padded on the right. Under a causal mask no token sees the padding,
so no attention mask is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decision:
    """A place with more than one legal token.

    position: index of the token to choose. legal: the tokens to choose from, the right one first.
    n_right: how many of the first ones are right, where the answer is only partly known.
    """

    position: int
    legal: tuple[int, ...]
    n_right: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence: prompt, answer, end token.

    ids: all tokens. n_prompt: number of them that belong to the prompt.
    unpredicted: positions that the vocabulary losses skip, because nothing could predict them.
    """

    ids: tuple[int, ...]
    n_prompt: int
    decisions: tuple[Decision, ...] = ()
    unpredicted: frozenset[int] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as arrays.

    A place is a token that predicts the next one, as an index into the flattened (sequences x columns) grid.

    ids: (sequences, columns).
    prompt, answer: (n,) places whose next token is to be predicted and belongs to the prompt or the answer.
    ends: (sequences,) places that predict the last token.
    decisions: (n_decisions,) places. legal: (n_decisions, most legal tokens), padded with -1; the right
        tokens come first. n_right: (n_decisions,) how many they are.
    """

    ids: Ids
    prompt: Ids
    answer: Ids
    ends: Ids
    decisions: Ids
    legal: Ids
    n_right: Ids

    @property
    def next_ids(self) -> Ids:
        """The token after each place, flattened. That of the last column means nothing and is never used."""
        return np.roll(self.ids, -1, axis=1).reshape(-1)


def make_batch(examples: Sequence[Example], pad: int) -> Batch:
    """Lay out examples as one batch. pad: id of the padding token."""
    n_columns = max(len(e.ids) for e in examples)
    ids = np.full((len(examples), n_columns), pad, dtype=np.int64)
    prompt: list[int] = []
    answer: list[int] = []
    ends: list[int] = []
    decisions: list[int] = []
    sets: list[tuple[int, ...]] = []
    n_right: list[int] = []
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        before = row * n_columns - 1  # add a position to get the place that predicts it
        predicted = [i for i in range(1, len(example.ids)) if i not in example.unpredicted]
        prompt += [before + i for i in predicted if i < example.n_prompt - 1]
        answer += [before + i for i in predicted if i >= example.n_prompt]
        ends.append(before + len(example.ids) - 1)
        decisions += [before + d.position for d in example.decisions]
        sets += [d.legal for d in example.decisions]
        n_right += [d.n_right for d in example.decisions]
    legal = np.full((len(sets), max(map(len, sets), default=1)), -1, dtype=np.int64)
    for row, members in enumerate(sets):
        legal[row, : len(members)] = members
    return Batch(ids, _array(prompt), _array(answer), _array(ends), _array(decisions), legal, _array(n_right))


def _array(values: list[int]) -> Ids:
    return np.array(values, dtype=np.int64)


def bucketed(
    examples: Sequence[Example], n_tokens: int, pad: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield batches of about `n_tokens` tokens, of sequences of similar length, in random order."""
    groups = of_like_length(examples, n_tokens)
    for index in rng.permutation(len(groups)):
        yield make_batch(groups[index], pad)


def of_like_length(examples: Sequence[Example], n_tokens: int) -> list[list[Example]]:
    """Group examples so that a group laid out as a batch has at most `n_tokens` tokens, padding included.

    A longer example is a group by itself.
    """
    groups: list[list[Example]] = [[]]
    for example in sorted(examples, key=lambda e: len(e.ids)):
        if groups[-1] and (len(groups[-1]) + 1) * len(example.ids) > n_tokens:
            groups.append([])
        groups[-1].append(example)
    return groups
