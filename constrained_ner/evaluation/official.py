"""The official counts, averages and table of predictions against gold.

The rules of the official evaluator, which the figures published for this task follow:

- A prediction is right if sentence, offsets, name and type all equal those of a gold mention. The name
  counts: if the gold name differs from the text at its offsets, only the gold name is right.
- A repeated prediction counts once. So does a repeated gold mention.
- The types are those of the gold. A prediction of another type is a false positive in the micro average and
  has no row of its own.
- The macro average of each figure is its mean over the gold types, so macro F1 is not computed from macro
  P and R.
- "no class" ignores types: two predictions that differ only in type count once.
- A ratio over nothing is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Set
from dataclasses import dataclass
from typing import Any, Protocol

from ..data import Mention, single_line

_RULE = "-" * 78


class Ratios(Protocol):
    """Anything that has precision, recall and F1."""

    @property
    def precision(self) -> float: ...

    @property
    def recall(self) -> float: ...

    @property
    def f1(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives, and their ratios."""

    tp: int
    fp: int
    fn: int

    @property
    def n_predicted(self) -> int:
        return self.tp + self.fp

    @property
    def n_gold(self) -> int:
        return self.tp + self.fn

    @property
    def precision(self) -> float:
        return self.tp / self.n_predicted if self.n_predicted else 0.0

    @property
    def recall(self) -> float:
        return self.tp / self.n_gold if self.n_gold else 0.0

    @property
    def f1(self) -> float:
        return harmonic_mean(self.precision, self.recall)


@dataclass(frozen=True, slots=True)
class Averages:
    """Mean precision, recall and F1 over the types."""

    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, rows: Collection[Ratios]) -> Averages:
        return cls(
            precision=_mean(row.precision for row in rows),
            recall=_mean(row.recall for row in rows),
            f1=_mean(row.f1 for row in rows),
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts by gold type, over all types (`micro`), and ignoring types (`no_class`)."""

    by_type: dict[str, Counts]
    micro: Counts
    no_class: Counts

    @property
    def macro(self) -> Averages:
        return Averages.of(self.by_type.values())

    def table(self) -> str:
        """The official evaluator's table, byte for byte, ending in a line break."""
        macro = self.macro
        lines = [
            f"{'':<17}  tp\t  fp\t  fn\t#pred\t#exp\tP\tR\tF1",
            _RULE,
            *(_row(name, counts) for name, counts in self.by_type.items()),
            _RULE,
            f"{'M.avg':<17}-\t-\t-\t-\t-\t{macro.precision:.1%}\t{macro.recall:.1%}\t{macro.f1:.1%}",
            _RULE,
            _row("m.avg", self.micro),
            _row("m.avg(no class)", self.no_class),
        ]
        return "".join(line + "\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: counts and ratios of every row, not rounded."""
        macro = self.macro
        return {
            "by_type": {name: _plain(counts) for name, counts in self.by_type.items()},
            "macro": {"precision": macro.precision, "recall": macro.recall, "f1": macro.f1},
            "micro": _plain(self.micro),
            "no_class": _plain(self.no_class),
        }


def evaluate(gold: Iterable[tuple[str, Mention]], predicted: Iterable[tuple[str, Mention]]) -> Evaluation:
    """Score predictions against gold. Both are pairs of sentence id and mention, in any order.

    Example: evaluate(gold=[("s0", m)], predicted=[("s0", m), ("s0", m)]).micro -> Counts(tp=1, fp=0, fn=0)
    """
    gold_keys = {mention_key(sentence_id, mention) for sentence_id, mention in gold}
    predicted_keys = {mention_key(sentence_id, mention) for sentence_id, mention in predicted}
    types = sorted({type_name for _, type_name in gold_keys})
    return Evaluation(
        by_type={t: _count(_of_type(gold_keys, t), _of_type(predicted_keys, t)) for t in types},
        micro=_count(gold_keys, predicted_keys),
        no_class=_count({place for place, _ in gold_keys}, {place for place, _ in predicted_keys}),
    )


def unknown_types(gold: Iterable[str], predicted: Iterable[str]) -> str | None:
    """The types of predictions that gold does not have, in words; None if there are none.

    Example: unknown_types(["drug"], ["Drug", "dose", "dose"]) -> "dose (2), Drug (1, in gold: drug)"
    """
    known = set(gold)
    unknown = Counter(name for name in predicted if name not in known)
    similar = {name.casefold(): name for name in sorted(known)}

    def named(name: str, n: int) -> str:
        other = similar.get(name.casefold())
        return f"{name} ({n}, in gold: {other})" if other else f"{name} ({n})"

    return ", ".join(named(name, n) for name, n in unknown.most_common()) if known and unknown else None


Place = tuple[str, Hashable, str]
"""Sentence id, spans, name."""


def mention_key(sentence_id: str, mention: Mention) -> tuple[Place, str]:
    """What must be equal for a prediction to be right: place and type."""
    # Evaluator lines cannot contain a line break, so line breaks in names must not matter.
    return (sentence_id, mention.spans, single_line(mention.text)), mention.type


def _of_type(keys: Iterable[tuple[Place, str]], type_name: str) -> set[Place]:
    return {place for place, t in keys if t == type_name}


def _count(gold: Set[Hashable], predicted: Set[Hashable]) -> Counts:
    tp = len(gold & predicted)
    return Counts(tp=tp, fp=len(predicted) - tp, fn=len(gold) - tp)


def harmonic_mean(precision: float, recall: float) -> float:
    """F1. Not 2tp / (2tp + fp + fn): the last bit can decide how a figure is rounded."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mean(values: Iterable[float]) -> float:
    # Plain addition, as in the official evaluator: sum() is more exact since Python 3.12, and the last bit
    # can decide how a figure is rounded.
    total, n = 0.0, 0
    for value in values:
        total, n = total + value, n + 1
    return total / n if n else 0.0


def _row(name: str, c: Counts) -> str:
    return (
        f"{name:<17}{c.tp:>4}\t{c.fp:>4}\t{c.fn:>4}\t{c.n_predicted:>4}\t{c.n_gold:>4}"
        f"\t{c.precision:.1%}\t{c.recall:.1%}\t{c.f1:.1%}"
    )


def _plain(c: Counts) -> dict[str, int | float]:
    return {
        "tp": c.tp,
        "fp": c.fp,
        "fn": c.fn,
        "n_predicted": c.n_predicted,
        "n_gold": c.n_gold,
        "precision": c.precision,
        "recall": c.recall,
        "f1": c.f1,
    }
