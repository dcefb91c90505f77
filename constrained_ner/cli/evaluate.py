"""`bin/evaluate`: score predictions against gold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from ..data import Mention, Sentence
from ..errors import InputError, UserError
from ..evaluation import (
    Reliability,
    SentenceCounts,
    analyse_errors,
    bootstrap,
    curves,
    evaluate,
    paired_difference,
    score_semeval,
)
from ..evaluation.calibration import judge
from ..evaluation.official import mention_key
from ..files import require_writable, write_atomically
from ..formats.ddi import read_ddi
from ..formats.evaluator_lines import read_predictions
from ..formats.mentions import mentions_path, read_mentions
from .run import run

Mentions = list[tuple[str, Mention]]


class _Section(Protocol):
    """A part of the output: as text, and as plain data for --json."""

    def table(self) -> str: ...

    def as_dict(self) -> dict[str, Any]: ...


_ANALYSES = "Analyses"
_OUTPUT = "Output"


def score(
    gold: Annotated[Path, typer.Argument(metavar="GOLD", help="DDI XML with the gold entities.")],
    predicted: Annotated[
        Path, typer.Argument(metavar="PREDICTED", help="Evaluator lines, as llm-NERC writes them.")
    ],
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use only the first N sentences of GOLD.")
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Count errors by kind, with examples.", rich_help_panel=_ANALYSES)
    ] = False,
    semeval: Annotated[
        bool,
        typer.Option("--semeval", help="Score in the schemes of SemEval-2013.", rich_help_panel=_ANALYSES),
    ] = False,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Print 95 % intervals of F1.", rich_help_panel=_ANALYSES)
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="Compare with these evaluator lines: F1 differences with 95 % intervals.",
            rich_help_panel=_ANALYSES,
        ),
    ] = None,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="Check the confidences: expected calibration error, Brier score.",
            rich_help_panel=_ANALYSES,
        ),
    ] = False,
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Print precision and recall at each confidence threshold, by type.",
            rich_help_panel=_ANALYSES,
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            help="Draw --calibration and --curve into this .png, .svg or .pdf file.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Also write all figures to this JSON file.", rich_help_panel=_OUTPUT),
    ] = None,
) -> None:
    """Score PREDICTED against GOLD and print the official table of the DDI evaluator.

    \b
    Examples:
      bin/evaluate devel.xml devel.out
      bin/evaluate devel.xml devel.out --intervals --against other.out
    """
    _check_outputs(json_file, plot, drawn=calibration or curve)
    all_sentences = [sentence for document in read_ddi(gold) for sentence in document]
    sentences, left_out = all_sentences[:limit], {s.id for s in all_sentences[limit or len(all_sentences) :]}

    def within(mentions: Mentions) -> Mentions:
        return [mention for mention in mentions if mention[0] not in left_out]

    expected = [(sentence.id, mention) for sentence in sentences for mention in sentence.mentions]
    found = within(read_predictions(predicted))
    _warn(gold, sentences, predicted, found)
    evaluation = evaluate(expected, found)
    counts = SentenceCounts.of(sentences, found)
    sections: dict[str, tuple[str, _Section]] = {}  # key in the JSON file -> title, section
    if semeval:
        sections["semeval"] = ("", score_semeval(expected, found))
    if errors:
        sections["errors"] = ("", analyse_errors(expected, found))
    if intervals:
        sections["intervals"] = ("F1 with 95 % intervals", bootstrap(counts))
    if against:
        theirs = SentenceCounts.of(sentences, within(read_predictions(against)))
        title = f"F1 above that of {against}, with 95 % intervals"
        sections["against"] = (title, paired_difference(counts, theirs))
    confident = within(read_confidences(predicted)) if calibration or curve else []
    reliability = Reliability.of(*judge(expected, confident)) if calibration else None
    by_confidence = curves(expected, confident) if curve else None
    if reliability:
        sections["calibration"] = ("", reliability)
    if by_confidence:
        sections["curve"] = ("", by_confidence)
    sys.stdout.write(evaluation.table())
    for title, section in sections.values():
        sys.stdout.write("\n" + (f"{title}\n" if title else "") + section.table())
    if json_file:
        more = {key: section.as_dict() for key, (_, section) in sections.items()}
        write_atomically(json_file, [json.dumps({**evaluation.as_dict(), **more}, indent=2), "\n"])
    if plot:
        from ..experiments.report.confidence_figure import save_confidence_figure

        save_confidence_figure(plot, reliability, by_confidence)


def read_confidences(predicted: Path) -> Mentions:
    """The mentions of an output with their confidences, from the mentions file beside it.

    Raises InputError if that file belongs to another output, or if a mention has no confidence.
    """
    path = mentions_path(predicted)
    mentions = read_mentions(path)
    if {mention_key(*m) for m in mentions} != {mention_key(*m) for m in read_predictions(predicted)}:
        raise InputError(f"{path}: does not belong to {predicted}: the mentions differ; run llm-NERC again")
    n_without = sum(mention.confidence is None for _, mention in mentions)
    if n_without:
        raise InputError(
            f"{path}: {n_without} of {len(mentions)} mentions have no confidence; "
            "run llm-NERC with a local model and without --unconstrained"
        )
    return mentions


def _check_outputs(json_file: Path | None, plot: Path | None, *, drawn: bool) -> None:
    """Check before any work that the output files can be written."""
    for path in (json_file, plot):
        if path:
            require_writable(path)
    if plot and not drawn:
        raise UserError(f"{plot}: nothing to draw; add --calibration or --curve to --plot")
    if plot:
        from ..experiments.report.confidence_figure import require_plot

        require_plot(plot)


def _warn(gold: Path, sentences: list[Sentence], predicted: Path, found: Mentions) -> None:
    """Warn if the two files do not seem to belong together; the table would not show it."""
    if not any(sentence.mentions for sentence in sentences):
        print(f"warning: {gold}: no entities, so every prediction counts as wrong", file=sys.stderr)
    known = {sentence.id for sentence in sentences}
    unknown = [sentence_id for sentence_id, _ in found if sentence_id not in known]
    if unknown:
        print(
            f"warning: {predicted}: {len(unknown)} of {len(found)} lines name sentences that are not in "
            f"{gold} (first: {unknown[0]}); they count as wrong",
            file=sys.stderr,
        )


def main() -> None:
    """Entry point."""
    run(score)
