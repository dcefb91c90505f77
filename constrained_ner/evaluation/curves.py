"""Precision against recall: what is gained and lost by leaving out mentions with low confidence.

Take the mentions of a type in order of falling confidence, those of equal confidence together; precision and
recall after each step are a point of the curve. Recall never passes that of the system: what it did not
predict has no confidence. Average precision is the area under the steps: the gain in recall of each step,
times the precision there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Mention
from .calibration import Bools, Floats, judge
from .official import Counts

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Curve:
    """The curve of one type, or of all types.

    thresholds: confidences, falling. Shape: (points,).
    tp, fp: right and wrong mentions at or above each threshold. Shape: (points,).
    n_gold: mentions to find.
    """

    thresholds: Floats
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    n_gold: int

    @classmethod
    def of(cls, confidences: Floats, right: Bools, n_gold: int) -> Curve:
        """Shape of both arrays: (mentions,)."""
        order = np.argsort(-confidences, kind="stable")
        sure, hits = confidences[order], right[order]
        last = np.flatnonzero(np.append(sure[:-1] != sure[1:], True)[: len(sure)])  # of equal confidences
        tp = np.cumsum(hits, dtype=np.int64)[last]
        return cls(sure[last], tp, last + 1 - tp, n_gold)

    @property
    def precision(self) -> Floats:
        shares: Floats = self.tp / np.maximum(self.tp + self.fp, 1)
        return shares

    @property
    def recall(self) -> Floats:
        return self.tp / max(self.n_gold, 1)

    @property
    def f1(self) -> Floats:
        means: Floats = 2 * self.tp / np.maximum(self.tp + self.fp + self.n_gold, 1)
        return means

    @property
    def average_precision(self) -> float:
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def best_threshold(self) -> float | None:
        """The threshold with the highest F1, the lowest one in a tie; None without mentions."""
        if not len(self.f1):
            return None
        best = len(self.f1) - 1 - int(np.argmax(self.f1[::-1]))
        return float(self.thresholds[best])

    def at(self, least: float) -> Counts:
        """What is right, wrong and missed if mentions below this confidence are left out."""
        n_points = int(np.sum(self.thresholds >= least))
        tp, fp = (int(self.tp[n_points - 1]), int(self.fp[n_points - 1])) if n_points else (0, 0)
        return Counts(tp, fp, self.n_gold - tp)


@dataclass(frozen=True)
class Curves:
    """The curve of each gold type, and that of all types together."""

    by_type: dict[str, Curve]
    all: Curve

    def table(self) -> str:
        """Precision, recall and F1 at each threshold, in percent, ending in a line break."""
        named = [*self.by_type.items(), ("all", self.all)]
        lines = [f"{'least confidence':<19}" + "  ".join(f"{name:^17}" for name, _ in named)]
        lines.append(" " * 19 + "  ".join(f"{'P':>5} {'R':>5} {'F1':>5}" for _ in named))
        for least in THRESHOLDS:
            rows = [curve.at(least) for _, curve in named]
            cells = (f"{_percent(r.precision)} {_percent(r.recall)} {_percent(r.f1)}" for r in rows)
            lines.append(f"{least:<19.2f}" + "  ".join(cells))
        average = "  ".join(f"{_percent(curve.average_precision):>17}" for _, curve in named)
        lines.append(f"{'average precision':<19}{average}")
        best = "  ".join(f"{_best(curve):>17}" for _, curve in named)
        lines.append(f"{'best F1, from':<19}{best}")
        return "".join(line.rstrip() + "\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: type -> average precision, best threshold, points of the table."""
        return {name: _plain(curve) for name, curve in (*self.by_type.items(), ("all", self.all))}


def curves(gold: Sequence[tuple[str, Mention]], predicted: Sequence[tuple[str, Mention]]) -> Curves:
    """The curves of predictions with confidences. Both are pairs of sentence id and mention."""
    confidences, right = judge(gold, predicted)
    types = np.array([mention.type for _, mention in predicted])
    n_gold: dict[str, int] = {}
    for _, mention in gold:
        n_gold[mention.type] = n_gold.get(mention.type, 0) + 1
    return Curves(
        by_type={
            name: Curve.of(confidences[types == name], right[types == name], n_gold[name])
            for name in sorted(n_gold)
        },
        all=Curve.of(confidences, right, sum(n_gold.values())),
    )


def _best(curve: Curve) -> str:
    best = curve.best_threshold
    return "-" if best is None else f"{_percent(curve.at(best).f1)}, {best:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:>5.1f}"


def _plain(curve: Curve) -> dict[str, Any]:
    points = [(least, curve.at(least)) for least in THRESHOLDS]
    return {
        "average_precision": curve.average_precision,
        "best_threshold": curve.best_threshold,
        "points": [
            {"least": least, "precision": c.precision, "recall": c.recall, "f1": c.f1} for least, c in points
        ],
    }
