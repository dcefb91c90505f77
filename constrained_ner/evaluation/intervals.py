"""How much F1 would vary with other sentences: the bootstrap over sentences (Efron 1979).

Draw as many sentences as there are, with replacement, and count again; do this 10,000 times. The interval
covers the middle 95 % of the results (the percentile method).

Limits: sentences of one document are drawn as if they were independent, which makes the intervals a little
too narrow. Averages are over the types of the gold; a type without a mention in a resample has F1 0 there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Mention, Sentence
from .official import mention_key

N_RESAMPLES = 10_000
_N_BLOCK = 500  # resamples drawn at once: some megabytes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SentenceCounts:
    """What the official evaluation counts, for each sentence.

    types: those of the gold, sorted.
    counts: int32, shape (sentences, types + 1, 3): true positives, false positives, false negatives. The last
        type stands for all predicted types that the gold does not have; they only cost micro precision.
    """

    types: tuple[str, ...]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, gold: Sequence[Sentence], predicted: Iterable[tuple[str, Mention]]) -> SentenceCounts:
        """Count. gold: all sentences, also those without mentions.

        Sentences that occur only in the predictions are appended.
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

    def rows(self, n_sentences: int = 0) -> Floats:
        """The counts, padded with empty sentences to at least n. Shape: (sentences, (types + 1) * 3)."""
        flat = self.counts.reshape(len(self.counts), -1).astype(np.float64)
        return np.pad(flat, ((0, max(0, n_sentences - len(flat))), (0, 0)))


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """F1, or differences of F1: micro, macro, and by type of the gold."""

    micro: Interval
    macro: Interval
    by_type: dict[str, Interval]

    def table(self) -> str:
        """In percent, one line each, ending in a line break."""
        rows = [*self.by_type.items(), ("M.avg", self.macro), ("m.avg", self.micro)]
        return "".join(
            f"{name:<17}{100 * i.value:>6.1f}   [{100 * i.low:.1f}, {100 * i.high:.1f}]\n" for name, i in rows
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: [value, low, high], each a share of 1."""
        return {
            "micro": _plain(self.micro),
            "macro": _plain(self.macro),
            "by_type": {name: _plain(interval) for name, interval in self.by_type.items()},
        }


def bootstrap(counts: SentenceCounts, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Intervals:
    """F1 with 95 % intervals. The same seed draws the same sentences. A second for 1,500 sentences."""
    return resampled(f1_scores, counts.rows(), counts.types, n_resamples=n_resamples, seed=seed)


def resampled(
    statistic: Callable[[Floats], Floats],
    rows: Floats,
    types: Sequence[str],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """A statistic of the summed rows with 95 % intervals over resampled rows.

    statistic: micro, macro and a figure for each type. Shape: (resamples, columns) -> (resamples, 2 + types).
    rows: what to sum. Shape: (sentences, columns).
    """
    drawn = np.concatenate([statistic(sums) for sums in _resamples(rows, n_resamples, seed)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    values = statistic(rows.sum(axis=0, keepdims=True))[0]
    micro, macro, *rest = [Interval(*map(float, figures)) for figures in zip(values, low, high, strict=True)]
    return Intervals(micro, macro, dict(zip(types, rest, strict=True)))


def f1_scores(sums: Floats) -> Floats:
    """Micro, macro and each type's F1. Shape: (resamples, (types + 1) * 3) -> (resamples, 2 + types)."""
    counts = sums.reshape(len(sums), -1, 3)
    by_type = _f1(counts[:, :-1])
    macro = by_type.mean(axis=1, keepdims=True) if by_type.shape[1] else np.zeros((len(sums), 1))
    return np.concatenate([_f1(counts.sum(axis=1, keepdims=True)), macro, by_type], axis=1)


def _f1(counts: Floats) -> Floats:
    """Shape: (..., 3) -> (...)."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    scores: Floats = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    return scores


def _resamples(rows: Floats, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Sums over drawn sentences, block by block. Shape: (resamples of the block, columns)."""
    generator = np.random.default_rng(seed)
    n = len(rows)
    for start in range(0, n_resamples, _N_BLOCK):
        n_drawn = min(_N_BLOCK, n_resamples - start)
        drawn = generator.integers(n, size=(n_drawn, n)) + n * np.arange(n_drawn)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n_drawn * n).reshape(n_drawn, n)
        yield times.astype(np.float64) @ rows


def _plain(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]
