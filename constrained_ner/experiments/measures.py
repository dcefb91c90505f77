"""The figures that runs are compared by, each with its name, its interval and its format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..data import INEXACT
from .scored_run import ScoredRun

NO_VALUE = "–"
Form = Literal["percent", "points", "number", "count"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a run.

    key: its name in files, such as `micro_f1`. label: its name in tables.
    value: None if the run does not have it. Shares are in [0, 1].
    low, high: the 95 % interval, if it has one.
    form: percent is a share, points is a difference of two shares.
    """

    key: str
    label: str
    value: float | None
    form: Form
    low: float | None = None
    high: float | None = None

    @property
    def shown(self) -> str:
        """The formatted value, a dash for None."""
        return NO_VALUE if self.value is None else self._written(self.value)

    @property
    def interval(self) -> str:
        """The formatted interval, empty for None."""
        if self.low is None or self.high is None:
            return ""
        return f"[{self._written(self.low)}, {self._written(self.high)}]"

    @property
    def is_clear(self) -> bool:
        """Whether it is a difference whose interval excludes 0."""
        if self.form != "points" or self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """Value and interval. Example: 0.835 in [0.821, 0.849] as percent -> "83.5 [82.1, 84.9]"."""
        return f"{self.shown} {self.interval}".rstrip()

    def _written(self, value: float) -> str:
        if self.form == "percent":
            return f"{value:.1%}"[:-1]  # rounded like the official table
        if self.form == "points":
            return f"{value:+.1%}"[:-1]
        if self.form == "count":
            return str(int(value))
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def measures_of(run: ScoredRun, baseline: ScoredRun | None = None) -> list[Measure]:
    """All figures of a run. With a baseline, also the paired differences between its averages and theirs."""
    return [*_accuracy(run, baseline), *_faithfulness(run), *_cost(run)]


def _accuracy(run: ScoredRun, baseline: ScoredRun | None) -> Iterator[Measure]:
    """Official F1 with bootstrap intervals."""
    evaluation, intervals = run.evaluation, run.intervals
    rows = [
        ("micro_f1", "micro F1", evaluation.micro.f1, intervals.micro),
        ("macro_f1", "macro F1", evaluation.macro.f1, intervals.macro),
        *((f"f1_{t}", t, counts.f1, intervals.by_type[t]) for t, counts in evaluation.by_type.items()),
    ]
    for key, label, f1, interval in rows:
        yield Measure(key, label, f1, "percent", interval.low, interval.high)
    difference = run.difference_to(baseline) if baseline else None
    for average in ("micro", "macro"):
        key, label = f"{average}_difference", f"Δ {average} F1"
        if difference is None:
            yield Measure(key, label, None, "points")
        else:
            interval = getattr(difference, average)
            yield Measure(key, label, interval.value, "points", interval.low, interval.high)


def _faithfulness(run: ScoredRun) -> Iterator[Measure]:
    """What an unconstrained answer may get wrong and a constrained one cannot."""
    record = run.record
    yield Measure("verbatim", "verbatim %", run.verbatim_share, "percent")
    for name in INEXACT:
        n = record.n_mentions_by_provenance.get(name, 0)
        yield Measure(name, f"{name} %", n / record.n_mentions if record.n_mentions else None, "percent")
    yield Measure("unknown_tags", "unknown tags", run.count("n_unknown_tags"), "count")
    yield Measure("invented", "invented names", run.count("n_invented"), "count")
    yield Measure("unfinished", "unfinished", run.count("n_unfinished"), "count")
    yield Measure("failed", "failed", len(record.failures), "count")


def _cost(run: ScoredRun) -> Iterator[Measure]:
    yield Measure("seconds", "s/sentence", run.seconds_per_sentence, "number")
    yield Measure("passes", "passes/sentence", run.passes_per_sentence, "number")
    yield Measure("prompt_tokens", "prompt tokens", run.prompt_tokens_per_sentence, "number")
