"""The tables of a report: the runs side by side, a question at a time, and what is known of each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...evaluation.error_kinds import KINDS, NONE
from ..comparison import Comparison
from ..measures import NO_VALUE
from ..scored_run import ScoredRun
from ..table import Table

_AVERAGES = ("micro_f1", "micro_difference", "macro_f1", "macro_difference")
_GROUPS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("F1", lambda key: key in _AVERAGES),
    ("F1 by type", lambda key: key.startswith("f1_")),
    ("Answers and cost", lambda key: key not in _AVERAGES and not key.startswith("f1_")),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Measures that answer one question. shows_options: whether what varies between the runs goes before."""

    title: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    shows_options: bool
    comparison: Comparison

    def table(self) -> Table:
        """One row a run, for Markdown."""
        varying = self.comparison.varying if self.shows_options else {}
        rows = tuple(
            (
                str(n + 1),
                run.name,
                *(values[n] for values in varying.values()),
                *(measures[key].text() if key in measures else NO_VALUE for key in self.keys),
            )
            for n, (run, measures) in enumerate(
                zip(self.comparison.runs, self.comparison.measures, strict=True)
            )
        )
        return Table(("#", "run", *varying, *self.labels), rows, n_names=2 + len(varying))


def groups(comparison: Comparison) -> list[Group]:
    """Every measure in the first group that it fits. Groups without a measure are left out."""
    labels = dict(zip(comparison.keys, comparison.labels, strict=True))
    found = []
    for title, fits in _GROUPS:
        keys = [key for key in comparison.keys if fits(key)]
        if title == "F1":
            keys.sort(key=_AVERAGES.index)
        if keys:
            named = tuple(labels[key] for key in keys)
            found.append(Group(title, tuple(keys), named, title == "F1", comparison))
    return found


def scores_table(run: ScoredRun) -> Table:
    """The figures of the official evaluator."""
    evaluation = run.evaluation
    rows = [
        *evaluation.by_type.items(),
        ("micro", evaluation.micro),
        ("micro, no types", evaluation.no_class),
    ]
    macro = evaluation.macro
    lines = [
        (name, str(c.tp), str(c.fp), str(c.fn), *(f"{r:.1%}"[:-1] for r in (c.precision, c.recall, c.f1)))
        for name, c in rows
    ]
    mean = ("macro", *[NO_VALUE] * 3, *(f"{r:.1%}"[:-1] for r in (macro.precision, macro.recall, macro.f1)))
    lines.insert(len(evaluation.by_type), mean)
    return Table(("type", "tp", "fp", "fn", "P", "R", "F1"), tuple(lines))


def confusion_table(run: ScoredRun) -> Table:
    """Rows: gold types. Columns: types of the predictions that overlap them."""
    confusion, names = run.errors.confusion(), (*run.errors.types, NONE)
    lines = tuple((gold, *(str(confusion[gold, predicted]) for predicted in names)) for gold in names)
    return Table(("gold \\ predicted", *names), lines)


def kinds_table(run: ScoredRun) -> Table:
    """Rows: what became of mentions. Columns: types."""
    errors = run.errors
    counts = {kind: errors.counts(kind) for kind in KINDS if errors.pairs[kind]}
    lines = tuple(
        (kind, *(str(n[name]) for name in errors.types), str(n.total())) for kind, n in counts.items()
    )
    return Table(("kind", *errors.types, "all"), lines)
