"""The page of a report, as HTML and as Markdown, from the same tables and figures.

Names and texts come from records and corpora, so both escape everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from ...rendering.pages import environment
from ..comparison import EXPLANATION, Comparison, shared_options
from ..learning import LearningPoint
from ..measures import NO_VALUE
from ..scored_run import ScoredRun
from ..table import Table, markdown_text
from .drawing import Figure
from .figures import comparison_figures, learning_figure
from .quotes import ErrorKind, error_kinds
from .tables import Group, confusion_table, groups, kinds_table, scores_table

_MOST_NOTES = 20
_EXAMPLES_OF_A_KIND = 3


@dataclass(frozen=True, slots=True)
class Details:
    """One run.

    options: those that are not the same in all runs, versions included.
    notes: the first sentences that failed or had problems, each with the reason.
    """

    number: int
    run: ScoredRun
    options: dict[str, str]
    notes: tuple[tuple[str, str], ...]
    n_more_notes: int

    @classmethod
    def of(cls, number: int, run: ScoredRun, shared: dict[str, str]) -> Details:
        notes = (*run.record.failures, *run.record.problems)
        n_more = max(0, len(notes) - _MOST_NOTES)
        own = {name: value for name, value in _options([run]).items() if name not in shared}
        return cls(number, run, own, notes[:_MOST_NOTES], n_more)

    @property
    def started(self) -> str:
        """To the minute. Example: "2026-01-31 09:00 UTC" """
        started = self.run.record.started
        return f"{started[:16].replace('T', ' ')} UTC" if started.endswith("+00:00") else started

    def scores(self) -> Table:
        return scores_table(self.run)

    def confusion(self) -> Table:
        return confusion_table(self.run)

    def kinds(self) -> Table:
        return kinds_table(self.run)

    def errors(self) -> list[ErrorKind]:
        return error_kinds(self.run.errors, self.run.gold, _EXAMPLES_OF_A_KIND)


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Everything that the page shows, best micro F1 first.

    learning: the learning curves of trainings (see `experiments.learning`); none by default.
    """

    comparison: Comparison
    learning: Mapping[str, Sequence[LearningPoint]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, runs: Sequence[ScoredRun], learning: Mapping[str, Sequence[LearningPoint]] | None = None
    ) -> ReportPage:
        """Compare runs with the best of them."""
        best_first = sorted(runs, key=lambda run: (-run.evaluation.micro.f1, run.name))
        return cls(Comparison.of(best_first), learning or {})

    @property
    def runs(self) -> tuple[ScoredRun, ...]:
        return self.comparison.runs

    @property
    def title(self) -> str:
        n = len(self.runs)
        return f"{n} runs compared" if n > 1 else f"One run: {self.runs[0].name}"

    @property
    def data(self) -> str:
        """One sentence about what the runs were scored on."""
        if any(run.gold != self.runs[0].gold for run in self.runs):
            return "The runs annotated different sentences, so their figures cannot be compared."
        gold = self.runs[0].gold
        inputs = {PurePath(run.record.input.replace("\\", "/")).name for run in self.runs}
        n_mentions = sum(len(sentence.mentions) for sentence in gold)
        return f"{', '.join(sorted(inputs))}: {len(gold)} sentences with {n_mentions} mentions."

    @property
    def verdict(self) -> str:
        """What the differences say, in one sentence; empty if there is nothing to compare."""
        measured = [row["micro_difference"] for row in self.comparison.measures[1:]]
        known = [measure for measure in measured if measure.low is not None]
        if not known or len(known) < len(measured):
            return ""
        first = self.comparison.measures[0]["micro_f1"]
        said = f"#1 {self.runs[0].name} has the highest micro F1, {first.shown}."
        n_clear, n = sum(measure.is_clear for measure in known), len(known)
        if n_clear == n:
            return f"{said} {'The other is' if n == 1 else 'All others are'} clearly below."
        if not n_clear:
            others = "the other" if n == 1 else "any other"
            return f"{said} Its lead over {others} may be chance: the interval of the difference holds 0."
        below = "is clearly below" if n_clear == 1 else "are clearly below"
        return f"{said} {n_clear} of {n} others {below}; the lead over the rest may be chance."

    @property
    def explanation(self) -> str:
        """How to read the tables."""
        return (
            f"{EXPLANATION} Bold: a difference whose interval excludes 0, and an F1 that is above every "
            "other by such a difference. Columns that are 0 in every run are left out."
        )

    @property
    def groups(self) -> list[Group]:
        return groups(self.comparison)

    @property
    def shared(self) -> dict[str, str]:
        """The options and versions that are the same in all runs."""
        return {name: value for name, value in _options(self.runs).items() if value != NO_VALUE}

    @property
    def unset(self) -> list[str]:
        """The options that no run has set."""
        return [name for name, value in _options(self.runs).items() if value == NO_VALUE]

    @property
    def details(self) -> Iterator[Details]:
        shared = _options(self.runs)
        return (Details.of(n, run, shared) for n, run in enumerate(self.runs, start=1))

    def figures(self) -> list[Figure]:
        """The figures that compare runs. Raises MissingExtraError without matplotlib."""
        learnt = [learning_figure(self.learning)] if self.learning else []
        return [*comparison_figures(self.comparison), *learnt]

    def html(self) -> str:
        """The self-contained page. Raises MissingExtraError without matplotlib or Jinja."""
        return str(environment().get_template("report.html").render(report=self))

    def markdown(self) -> str:
        """The same tables as Markdown, without pictures. Raises MissingExtraError without Jinja."""
        plain = environment(autoescape=False)
        plain.filters["md"] = lambda value: markdown_text(str(value))
        return str(plain.get_template("report.md").render(report=self))


def _options(runs: Sequence[ScoredRun]) -> dict[str, str]:
    """Option or library -> value or version, where it is the same in all these runs."""
    versions = [run.record.versions for run in runs]
    same = {name: v for name, v in versions[0].items() if all(other.get(name) == v for other in versions)}
    return {**shared_options([run.record for run in runs]), **same}
