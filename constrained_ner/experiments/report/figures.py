"""The figures of a report, made from scored runs: what a table cannot show, from three places on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..comparison import Comparison
from ..learning import LearningPoint
from ..measures import Measure
from .drawing import Bar, Figure, Point, lines, scatter

_FEWEST_PLACES = 3  # on the horizontal axis; fewer are easier to read in the table
_EXAMPLE_OPTIONS = ("select", "example", "seed")


def comparison_figures(comparison: Comparison) -> Iterator[Figure]:
    """The figures that these runs have data for."""
    runs, measured = comparison.runs, comparison.measures
    shots = [_number(run.record.options.get("shots")) for run in runs]
    if len({n for n in shots if n is not None}) >= _FEWEST_PLACES:
        yield _f1_against_shots(shots, comparison)
    points = [
        Point(run.seconds_per_sentence, _bar(row["micro_f1"]), f"#{n}")
        for n, (run, row) in enumerate(zip(runs, measured, strict=True), start=1)
        if run.seconds_per_sentence is not None
    ]
    if len({point.x for point in points}) >= _FEWEST_PLACES:
        caption = "Micro F1 against seconds per sentence; the numbers are those of the table."
        yield scatter(points, x_label="seconds per sentence", y_label="micro F1", caption=caption)


def learning_figure(curves: Mapping[str, Sequence[LearningPoint]]) -> Figure:
    """F1 against the number of sentences that were learnt from. Whiskers: trainings that differ otherwise."""
    panels = {
        "micro F1": {
            name: [Point(p.n_examples, Bar(*p.micro)) for p in points] for name, points in curves.items()
        },
        "macro F1": {
            name: [Point(p.n_examples, Bar(*p.macro)) for p in points] for name, points in curves.items()
        },
    }
    caption = (
        "F1 on the validation file of each training against the number of sentences that it learnt from. "
        "Whiskers: the lowest and the highest of trainings with the same number."
    )
    return lines(panels, x_label="sentences learnt from", y_label="F1", caption=caption, logarithmic=True)


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
