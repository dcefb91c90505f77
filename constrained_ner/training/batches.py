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

    position: index of the token to choose. legal: the tokens to choose from, the written one first.
    outcomes, expected: what is known of the answer, where it is not just the written token: for each legal
        token the number of the outcome that it belongs to, and the probability of each outcome. Tokens share
        an outcome if it is not known which of them is right: a teacher said that some tag opens here, or
        another corpus that it is a drug or a brand.
    """

    position: int
    legal: tuple[int, ...]
    outcomes: tuple[int, ...] = ()
    expected: tuple[float, ...] = ()

    @property
    def n_right(self) -> int:
        """How many tokens share the outcome of the written one; they come first unless a teacher spoke."""
        return self.outcomes.count(self.outcomes[0]) if self.outcomes else 1


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
    decisions: (n_decisions,) places. legal: (n_decisions, most legal tokens), padded with -1; the written
        token is in column 0.
    outcomes: as `legal`, padded with -1. expected: the same shape, the probability of each outcome. Where the
        written token is known to be right, it is outcome 0, and certain; outcome 1 is all others.
    """

    ids: Ids
    prompt: Ids
    answer: Ids
    ends: Ids
    decisions: Ids
    legal: Ids
    outcomes: Ids
    expected: npt.NDArray[np.float32]

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
    places: list[int] = []
    decisions: list[Decision] = []
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        before = row * n_columns - 1  # add a position to get the place that predicts it
        predicted = [i for i in range(1, len(example.ids)) if i not in example.unpredicted]
        prompt += [before + i for i in predicted if i < example.n_prompt - 1]
        answer += [before + i for i in predicted if i >= example.n_prompt]
        ends.append(before + len(example.ids) - 1)
        places += [before + d.position for d in example.decisions]
        decisions += example.decisions
    choices = _choices(decisions)
    return Batch(ids, _array(prompt), _array(answer), _array(ends), _array(places), *choices)


def _choices(decisions: Sequence[Decision]) -> tuple[Ids, Ids, npt.NDArray[np.float32]]:
    """`Batch.legal`, `outcomes` and `expected`."""
    shape = len(decisions), max((len(d.legal) for d in decisions), default=1)
    legal, outcomes = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    expected = np.zeros(shape, dtype=np.float32)
    for row, decision in enumerate(decisions):
        n = len(decision.legal)
        legal[row, :n] = decision.legal
        outcomes[row, :n] = decision.outcomes or (0, *[1] * (n - 1))
        known = decision.expected or (1.0,)
        expected[row, : len(known)] = known
    return legal, outcomes, expected


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
