"""The figures of a report, made from scored runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...evaluation.error_kinds import NONE
from ..comparison import Comparison
from ..measures import Measure
from ..scored_run import ScoredRun
from ..table import Table
from .drawing import Bar, Figure, Point, bars, lines, matrix, scatter

_MOST_BARS = 24  # more would be unreadable; the table has them all
_EXAMPLE_OPTIONS = ("select", "example", "seed")


def comparison_figures(comparison: Comparison) -> Iterator[Figure]:
    """The figures that these runs have data for."""
    runs, measured = comparison.runs, comparison.measures
    yield _f1_bars(comparison)
    shots = [_number(run.record.options.get("shots")) for run in runs]
    if len({n for n in shots if n is not None}) > 1:
        yield _f1_against_shots(shots, comparison)
    points = [
        Point(run.seconds_per_sentence, _bar(row["micro_f1"]), f"#{n}")
        for n, (run, row) in enumerate(zip(runs, measured, strict=True), start=1)
        if run.seconds_per_sentence is not None
    ]
    if len(points) > 1:
        caption = "Micro F1 against seconds per sentence; the numbers are those of the table."
        yield scatter(points, x_label="seconds per sentence", y_label="micro F1", caption=caption)


def confusion_table(run: ScoredRun) -> Table:
    """Rows: gold types. Columns: types of the predictions that overlap them."""
    names, counts = _confusion(run)
    lines = tuple((name, *map(str, line)) for name, line in zip(names, counts, strict=True))
    return Table(("gold \\ predicted", *names), lines)


def confusion_figure(run: ScoredRun) -> Figure:
    """The confusion table as a picture."""
    names, counts = _confusion(run)
    caption = f"Types of overlapping mentions. {NONE}: no overlap."
    return matrix(counts, names, names, caption=caption)


def _confusion(run: ScoredRun) -> tuple[Sequence[str], list[list[int]]]:
    """The names of both rows and columns, and the counts."""
    confusion, names = run.errors.confusion(), (*run.errors.types, NONE)
    return names, [[confusion[gold, predicted] for predicted in names] for gold in names]


def _f1_bars(comparison: Comparison) -> Figure:
    runs, shown = comparison.runs[:_MOST_BARS], comparison.measures[:_MOST_BARS]
    panels = {
        label: [_bar(row[key]) if key in row else Bar(0.0) for row in shown]
        for key, label in zip(comparison.keys, comparison.labels, strict=True)
        if "f1" in key
    }
    n_runs = len(comparison.runs)
    of_all = f" of the first {_MOST_BARS} of {n_runs} runs" if n_runs > _MOST_BARS else ""
    names = [f"#{n} {run.name}" for n, run in enumerate(runs, start=1)]
    return bars(panels, names, caption=f"F1 by type{of_all}, with 95 % intervals.")


def _f1_against_shots(shots: Sequence[float | None], comparison: Comparison) -> Figure:
    """One line for each setting of the other options.

    A run with 0 shots has no examples to select, so it starts every line that differs from it only in how
    examples were selected.
    """
    others = {name: values for name, values in comparison.varying.items() if name != "shots"}
    settings = [tuple(values[n] for values in others.values()) for n in range(len(shots))]
    of_examples = [name.startswith(_EXAMPLE_OPTIONS) for name in others]

    def begins(zero: tuple[str, ...], line: tuple[str, ...]) -> bool:
        return all(a == b or skip for a, b, skip in zip(zero, line, of_examples, strict=True))

    panels: dict[str, dict[str, list[Point]]] = {"micro F1": {}, "macro F1": {}}
    placed = sorted((at, n) for n, at in enumerate(shots) if at is not None)
    for setting in sorted({settings[n] for at, n in placed if at}):
        on_line = [
            (at, comparison.measures[n])
            for at, n in placed
            if settings[n] == setting or (at == 0 and begins(settings[n], setting))
        ]
        name = ", ".join(setting) or "all runs"
        panels["micro F1"][name] = [Point(at, _bar(row["micro_f1"])) for at, row in on_line]
        panels["macro F1"][name] = [Point(at, _bar(row["macro_f1"])) for at, row in on_line]
    caption = "F1 against the number of examples in the prompt."
    return lines(panels, x_label="examples in the prompt", y_label="F1", caption=caption)


def _bar(measure: Measure) -> Bar:
    return Bar(measure.value or 0.0, measure.low, measure.high)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
