"""The page of a report, as HTML and as Markdown, from the same tables and figures.

Names and texts come from records and corpora, so both escape everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import MissingExtraError
from ..comparison import EXPLANATION, Comparison, shared_options
from ..scored_run import ScoredRun
from ..table import Table, markdown_text
from .drawing import Figure
from .figures import comparison_figures, confusion_figure, confusion_table

if TYPE_CHECKING:
    from jinja2 import Environment


_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class Details:
    """One run. notes: the first sentences that failed or had problems, each with the reason."""

    number: int
    run: ScoredRun
    options: dict[str, str]
    notes: tuple[tuple[str, str], ...]
    n_more_notes: int

    @classmethod
    def of(cls, number: int, run: ScoredRun) -> Details:
        notes = (*run.record.failures, *run.record.problems)
        n_more = max(0, len(notes) - _MOST_NOTES)
        return cls(number, run, shared_options([run.record]), notes[:_MOST_NOTES], n_more)

    def confusion(self) -> Table:
        return confusion_table(self.run)

    def confusion_figure(self) -> Figure:
        return confusion_figure(self.run)


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Everything that the page shows, best micro F1 first."""

    comparison: Comparison

    @classmethod
    def of(cls, runs: Sequence[ScoredRun]) -> ReportPage:
        """Compare runs with the best of them."""
        return cls(Comparison.of(sorted(runs, key=lambda run: (-run.evaluation.micro.f1, run.name))))

    @property
    def runs(self) -> tuple[ScoredRun, ...]:
        return self.comparison.runs

    @property
    def data(self) -> str:
        """One sentence about what the runs were scored on."""
        sizes = {(len(run.gold), sum(len(s.mentions) for s in run.gold)) for run in self.runs}
        if len(sizes) > 1:
            return "The runs annotated different sentences, so their figures cannot be compared."
        ((n_sentences, n_mentions),) = sizes
        return f"{n_sentences} sentences with {n_mentions} mentions."

    @property
    def explanation(self) -> str:
        """How to read the table."""
        return EXPLANATION + " Columns that are 0 in every run are left out."

    @property
    def shared(self) -> dict[str, str]:
        """The options that are the same in all runs."""
        return shared_options([run.record for run in self.runs])

    @property
    def details(self) -> Iterator[Details]:
        return (Details.of(n, run) for n, run in enumerate(self.runs, start=1))

    def figures(self) -> list[Figure]:
        """The figures that compare runs. Raises MissingExtraError without matplotlib."""
        return list(comparison_figures(self.comparison))

    def html(self) -> str:
        """The self-contained page. Raises MissingExtraError without matplotlib or Jinja."""
        return str(_environment(autoescape=True).get_template("page.html").render(report=self))

    def markdown(self) -> str:
        """The same tables as Markdown, without pictures. Raises MissingExtraError without Jinja."""
        environment = _environment(autoescape=False)
        environment.filters["md"] = lambda value: markdown_text(str(value))
        return str(environment.get_template("page.md").render(report=self))


def _environment(*, autoescape: bool) -> Environment:
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None
    return jinja2.Environment(
        loader=jinja2.PackageLoader("constrained_ner", "templates/report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
