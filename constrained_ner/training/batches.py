"""Training examples as arrays: ids, which of them to predict over the vocabulary, and the decisions.

A batch holds sequences of about the same length, padded on the right: under a causal mask the padding is
never looked at, so no attention mask is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decision:
    """A place where more than one token is legal.

    position: index of the token that is to be chosen. legal: all that may stand there, the right one first.
    """

    position: int
    legal: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence, `sentence separator answer end`.

    ids: all tokens. n_prompt: how many belong to the prompt, separator included.
    unpredicted: positions that teach nothing over the vocabulary, because nothing there could be known.
    """

    ids: tuple[int, ...]
    n_prompt: int
    decisions: tuple[Decision, ...] = ()
    unpredicted: frozenset[int] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as arrays. A predicting place is an index into the flattened (sequences x columns) grid.

    ids: (sequences, columns).
    prompt, answer: (n,) places whose next token belongs to the prompt or the answer and is to be predicted.
    decisions: (n_decisions,) places. legal: (n_decisions, most legal tokens), -1 where there are fewer; the
    right token stands in column 0.
    """

    ids: Ids
    prompt: Ids
    answer: Ids
    decisions: Ids
    legal: Ids

    @property
    def next_ids(self) -> Ids:
        """The token after each place, flattened; the last column's is never asked for."""
        return np.roll(self.ids, -1, axis=1).reshape(-1)


def make_batch(examples: Sequence[Example], pad: int) -> Batch:
    """Lay examples out as one batch."""
    n_columns = max(len(e.ids) for e in examples)
    ids = np.full((len(examples), n_columns), pad, dtype=np.int64)
    prompt: list[int] = []
    answer: list[int] = []
    decisions: list[int] = []
    sets: list[tuple[int, ...]] = []
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        before = row * n_columns - 1  # the place that predicts the row's token 0, were there one
        predicted = [i for i in range(1, len(example.ids)) if i not in example.unpredicted]
        prompt += [before + i for i in predicted if i < example.n_prompt - 1]
        answer += [before + i for i in predicted if i >= example.n_prompt]
        decisions += [before + d.position for d in example.decisions]
        sets += [d.legal for d in example.decisions]
    legal = np.full((len(sets), max(map(len, sets), default=1)), -1, dtype=np.int64)
    for row, members in enumerate(sets):
        legal[row, : len(members)] = members
    return Batch(ids, _array(prompt), _array(answer), _array(decisions), legal)


def _array(values: list[int]) -> Ids:
    return np.array(values, dtype=np.int64)


def bucketed(
    examples: Sequence[Example], n_tokens: int, pad: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Batches of about `n_tokens` tokens each, of sequences of similar length, in random order."""
    ordered = sorted(examples, key=lambda e: len(e.ids))
    groups: list[list[Example]] = [[]]
    for example in ordered:
        if groups[-1] and (len(groups[-1]) + 1) * len(example.ids) > n_tokens:
            groups.append([])
        groups[-1].append(example)
    for index in rng.permutation(len(groups)):
        yield make_batch(groups[index], pad)
