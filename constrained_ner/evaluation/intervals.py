"""How much a figure would vary with other sentences: the bootstrap (Efron 1979), over sentences.

Sentences are drawn anew, with replacement, as many as there are, and everything is counted again; 10,000
times. The interval holds the middle 95 % of what comes out (the percentile method). Two systems are compared
on the same draws, so that what is hard for both cancels out: if the interval of the difference excludes 0,
the better one is better not only on these sentences.

Sentences of one document are drawn as if they had nothing to do with each other; intervals are a little too
narrow for that. The averages are over the types of the gold; a type that a draw has none of has F1 0 in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Mention, Sentence
from .official import mention_key

N_RESAMPLES = 10_000
_N_BLOCK = 500  # resamples that are drawn at once: some megabytes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SentenceCounts:
    """What the official evaluator counts, kept apart by sentence.

    types: those of the gold, sorted.
    counts: int32, shape (sentences, types + 1, 3): true positives, false positives, false negatives. The last
        type is all those that the gold does not have; they cost precision in the micro average alone.
    """

    types: tuple[str, ...]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, gold: Sequence[Sentence], predicted: Iterable[tuple[str, Mention]]) -> SentenceCounts:
        """Count. gold: all sentences, also those without mentions.

        Sentences that only predictions have are added behind them.
        """
        gold_keys = {mention_key(s.id, m) for s in gold for m in s.mentions}
        predicted_keys = {mention_key(sentence_id, m) for sentence_id, m in predicted}
        types = tuple(sorted({type_name for _, type_name in gold_keys}))
        column = {name: n for n, name in enumerate(types)}
        row = {sentence.id: n for n, sentence in enumerate(gold)}
        for (sentence_id, _, _), _ in sorted(predicted_keys - gold_keys, key=lambda key: key[0][0]):
            row.setdefault(sentence_id, len(row))
        counts = np.zeros((len(row), len(types) + 1, 3), dtype=np.int32)
        outcomes = (gold_keys & predicted_keys, predicted_keys - gold_keys, gold_keys - predicted_keys)
        for outcome, keys in enumerate(outcomes):
            for (sentence_id, _, _), name in keys:
                counts[row[sentence_id], column.get(name, len(types)), outcome] += 1
        return cls(types, counts)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, or the difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of F1: micro, macro, and by type of the gold."""

    micro: Interval
    macro: Interval
    by_type: dict[str, Interval]

    def table(self) -> str:
        """In percent, a line each, ending in a line break; differences have signs."""
        rows = [*self.by_type.items(), ("M.avg", self.macro), ("m.avg", self.micro)]
        return "".join(
            f"{name:<17}{100 * i.value:>6.1f}   [{100 * i.low:.1f}, {100 * i.high:.1f}]\n" for name, i in rows
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, shares of 1."""
        plain = {name: [i.value, i.low, i.high] for name, i in self.by_type.items()}
        return {
            "micro": [self.micro.value, self.micro.low, self.micro.high],
            "macro": [self.macro.value, self.macro.low, self.macro.high],
            "by_type": plain,
        }


def bootstrap(counts: SentenceCounts, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Intervals:
    """F1 with its intervals. The same seed draws the same sentences. Takes a second for 1,500 sentences."""
    flat = _flat(counts)
    drawn = np.concatenate([_f1(sums) for sums in _resamples(flat, n_resamples, seed)])
    return _intervals(counts.types, _f1(flat.sum(axis=0, keepdims=True))[0], drawn)


def paired_difference(
    one: SentenceCounts, other: SentenceCounts, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Intervals:
    """How much higher the F1 of `one` is than that of `other`, on the same gold.

    Raises ValueError where the two were not counted on the same sentences and types.
    """
    if one.types != other.types:
        raise ValueError(f"types {one.types} and {other.types} are not of the same gold")
    n_sentences = max(len(one.counts), len(other.counts))  # predictions of unknown sentences add rows
    flat = np.concatenate([_flat(one, n_sentences), _flat(other, n_sentences)], axis=1)

    def difference(sums: Floats) -> Floats:
        ours, theirs = np.split(sums, 2, axis=1)
        return _f1(ours) - _f1(theirs)

    drawn = np.concatenate([difference(sums) for sums in _resamples(flat, n_resamples, seed)])
    return _intervals(one.types, difference(flat.sum(axis=0, keepdims=True))[0], drawn)


def _flat(counts: SentenceCounts, n_sentences: int = 0) -> Floats:
    """Shape (sentences, (types + 1) * 3), padded with sentences that have nothing."""
    flat = counts.counts.reshape(len(counts.counts), -1).astype(np.float64)
    return np.pad(flat, ((0, max(0, n_sentences - len(flat))), (0, 0)))


def _resamples(flat: Floats, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Sums over drawn sentences, shape (resamples, columns), some resamples at a time."""
    generator = np.random.default_rng(seed)
    n = len(flat)
    for start in range(0, n_resamples, _N_BLOCK):
        n_rows = min(_N_BLOCK, n_resamples - start)
        drawn = generator.integers(n, size=(n_rows, n)) + n * np.arange(n_rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n_rows * n).reshape(n_rows, n)
        yield times.astype(np.float64) @ flat


def _f1(sums: Floats) -> Floats:
    """Micro, macro and every type's F1. Shape: (resamples, (types + 1) * 3) -> (resamples, 2 + types)."""
    counts = sums.reshape(len(sums), -1, 3)
    by_type = _ratio(counts[:, :-1])
    macro = by_type.mean(axis=1, keepdims=True) if by_type.shape[1] else np.zeros((len(sums), 1))
    return np.concatenate([_ratio(counts.sum(axis=1, keepdims=True)), macro, by_type], axis=1)


def _ratio(counts: Floats) -> Floats:
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    found: Floats = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return found


def _intervals(types: Sequence[str], values: Floats, drawn: Floats) -> Intervals:
    """values: shape (2 + types,). drawn: shape (resamples, 2 + types)."""
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    micro, macro, *rest = [Interval(*map(float, figures)) for figures in zip(values, low, high, strict=True)]
    return Intervals(micro, macro, dict(zip(types, rest, strict=True)))
