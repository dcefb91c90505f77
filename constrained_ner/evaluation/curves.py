"""Precision against recall: what leaving out the less sure mentions costs, and what it brings.

The mentions of a type are taken from the surest down; after each one, precision and recall so far are a point
of the curve. Recall ends where the system's does: what it never predicted has no confidence. The average
precision is the area under the steps: what each adds to recall, times the precision there. Mentions of equal
confidence come in together.
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
    """The curve of one type, or of all together.

    thresholds: least confidences, falling, shape (points,). tp, fp: right and wrong mentions that reach them.
    n_gold: mentions to be found.
    """

    thresholds: Floats
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    n_gold: int

    @classmethod
    def of(cls, confidences: Floats, right: Bools, n_gold: int) -> Curve:
        """Shapes: (mentions,) both."""
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
        """The least confidence with the highest F1, the lowest of several; None without mentions."""
        if not len(self.f1):
            return None
        best = len(self.f1) - 1 - int(np.argmax(self.f1[::-1]))
        return float(self.thresholds[best])

    def at(self, least: float) -> Counts:
        """What is right, wrong and missed with this least confidence."""
        n_points = int(np.sum(self.thresholds >= least))
        tp, fp = (int(self.tp[n_points - 1]), int(self.fp[n_points - 1])) if n_points else (0, 0)
        return Counts(tp, fp, self.n_gold - tp)


@dataclass(frozen=True)
class Curves:
    """The curve of every gold type, and `all` of them together."""

    by_type: dict[str, Curve]
    all: Curve

    def table(self) -> str:
        """Precision, recall and F1 in percent by least confidence, ending in a line break."""
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
        """Plain data for JSON: type -> average precision, best threshold, and the points of the table."""
        return {name: _plain(curve) for name, curve in (*self.by_type.items(), ("all", self.all))}


def curves(gold: Sequence[tuple[str, Mention]], predicted: Sequence[tuple[str, Mention]]) -> Curves:
    """The curves; both are pairs of sentence id and mention, the predicted ones with confidences."""
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
