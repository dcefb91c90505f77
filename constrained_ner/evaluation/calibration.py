"""Calibration: of the mentions with confidence 0.9, nine in ten should be right.

    reliability = Reliability.of(confidences, right)
    reliability.ece        expected calibration error: |share right - mean confidence|, averaged over bins,
                           weighted by their sizes (Naeini et al. 2015; by default ten bins of equal width)
    reliability.brier      mean of (confidence - right)^2: calibration and sharpness in one (Brier 1950)

Most miscalibration is fixed by one number, the temperature that logits are divided by (Guo et al. 2017). It
minimises the log-loss of "this mention is right" over the mentions. (Fitting it to single decisions would
leave the confidences of mentions wrong, because the decisions of a mention are not independent.) A mention is
right if the official evaluation counts it as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Mention
from .official import mention_key

N_BINS = 10
_CERTAIN = 1e-6  # the log-loss clips confidences to here; otherwise one mention could outweigh all others

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """Mentions with confidence in [low, high); the last bin includes 1. An empty bin has no means."""

    low: float
    high: float
    n: int
    mean_confidence: float | None
    share_right: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well confidences agree with what is right. The figures are None without mentions."""

    bins: tuple[Bin, ...]
    n: int
    ece: float | None
    brier: float | None
    log_loss: float | None

    @classmethod
    def of(cls, confidences: Floats, right: Bools, *, n_bins: int = N_BINS) -> Reliability:
        """Shape of both arrays: (mentions,). n_bins: bins of equal width from 0 to 1."""
        n = len(confidences)
        places = np.minimum((confidences * n_bins).astype(int), n_bins - 1)
        sizes = np.bincount(places, minlength=n_bins)
        sums = np.bincount(places, confidences, minlength=n_bins)
        hits = np.bincount(places, right, minlength=n_bins)
        bins = tuple(
            Bin(
                i / n_bins,
                (i + 1) / n_bins,
                int(sizes[i]),
                float(sums[i] / sizes[i]) if sizes[i] else None,
                float(hits[i] / sizes[i]) if sizes[i] else None,
            )
            for i in range(n_bins)
        )
        if not n:
            return cls(bins, 0, None, None, None)
        return cls(
            bins,
            n,
            ece=float(np.abs(hits - sums).sum() / n),
            brier=float(np.mean((confidences - right) ** 2)),
            log_loss=_log_loss(confidences, right),
        )

    def table(self) -> str:
        """A line for each bin that is not empty, and the figures, ending in a line break."""
        lines = [f"{'confidence':<17}{'mentions':>9}{'mean':>9}{'right':>9}"]
        for b in self.bins:
            if b.mean_confidence is not None and b.share_right is not None:
                name = f"{b.low:.2f} to {b.high:.2f}"
                lines.append(f"{name:<17}{b.n:>9}{b.mean_confidence:>9.3f}{b.share_right:>9.3f}")
        if self.ece is None or self.brier is None:
            lines.append("no mentions")
        else:
            lines.append(
                f"ECE {self.ece:.4f} ({len(self.bins)} bins of equal width), Brier score {self.brier:.4f}"
            )
        return "".join(line + "\n" for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        names = ("low", "high", "n", "mean_confidence", "share_right")
        bins = [{name: getattr(b, name) for name in names} for b in self.bins]
        return {"n": self.n, "ece": self.ece, "brier": self.brier, "log_loss": self.log_loss, "bins": bins}


def judge(
    gold: Sequence[tuple[str, Mention]], predicted: Sequence[tuple[str, Mention]]
) -> tuple[Floats, Bools]:
    """The confidences of predicted mentions, and which mentions are right. Shape of both: (mentions,)."""
    gold_keys = {mention_key(sentence_id, mention) for sentence_id, mention in gold}
    right = [mention_key(sentence_id, mention) in gold_keys for sentence_id, mention in predicted]
    confidences = [np.nan if m.confidence is None else m.confidence for _, m in predicted]
    return np.array(confidences, dtype=np.float64), np.array(right, dtype=np.bool_)


def fit_temperature(mentions: Sequence[Mention], right: Bools) -> float:
    """The temperature between 0.1 and 10 that minimises the log-loss of "this mention is right".

    mentions: with margins (see `decoding/confidence.py`). Raises ValueError if none has any.
    """
    confidences = Confidences(mentions)
    if not confidences.margins.size:
        raise ValueError("no mention has margins")
    low, high = np.log(0.1), np.log(10.0)
    for _ in range(4):  # each round refines the grid around the best value: to a thousandth in the end
        tried = np.linspace(low, high, 41)
        losses = [_log_loss(confidences.at(float(np.exp(t))), right) for t in tried]
        best = tried[int(np.argmin(losses))]
        step = tried[1] - tried[0]
        low, high = best - step, best + step
    return float(np.exp(best))


class Confidences:
    """The confidences of many mentions at any temperature: `decoding.confidence.confidence`, vectorised."""

    def __init__(self, mentions: Sequence[Mention]) -> None:
        decisions = [(n, margins) for n, mention in enumerate(mentions) for margins in mention.margins]
        self._n_mentions = len(mentions)
        self._mention_of_decision = np.array([n for n, _ in decisions], dtype=np.intp)
        self._decision_of_margin = np.repeat(np.arange(len(decisions)), [len(m) for _, m in decisions])
        self.margins = np.array([margin for _, margins in decisions for margin in margins], dtype=np.float64)

    def at(self, temperature: float) -> Floats:
        """Shape: (mentions,). A mention without decisions has confidence 1."""
        n_decisions = len(self._mention_of_decision)
        others = np.bincount(self._decision_of_margin, np.exp(self.margins / temperature), n_decisions)
        losses = np.bincount(self._mention_of_decision, np.log1p(others), self._n_mentions)
        confidences: Floats = np.exp(-losses)
        return confidences


def _log_loss(confidences: Floats, right: Bools) -> float:
    clipped = np.clip(confidences, _CERTAIN, 1 - _CERTAIN)
    return float(-np.mean(np.where(right, np.log(clipped), np.log1p(-clipped))))
