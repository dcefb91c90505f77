"""`constrained-ner evaluate`: score predictions against gold."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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
from ..evaluation.official import mention_key, unknown_types
from ..files import require_apart, require_writable, write_atomically
from ..formats.documents import read_documents, read_found
from ..formats.mentions import mentions_path, read_mentions
from ..runs.coverage import n_covered, record_beside
from .options import NOTED, TypesOption, asked_types
from .run import CommandLine, note

Mentions = list[tuple[str, Mention]]


class _Section(Protocol):
    """A part of the output: as text, and as plain data for --json."""

    def table(self) -> str: ...

    def as_dict(self) -> dict[str, Any]: ...


_ANALYSES = "Analyses"
_OUTPUT = "Output"


def score(
    gold: Annotated[
        Path,
        typer.Argument(metavar="GOLD", help="Annotated file or folder: DDI XML, BRAT, BioC, JSON lines, ..."),
    ],
    predicted: Annotated[
        Path, typer.Argument(metavar="PREDICTED", help="Output of llm-NERC, in any format.")
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
    types: TypesOption = None,
) -> None:
    """Score PREDICTED against GOLD and print the official table of the DDI evaluator.

    \b
    Examples:
      constrained-ner evaluate devel.xml devel.out
      constrained-ner evaluate devel.xml devel.out --intervals --against other.out
    """
    _check_outputs(json_file, plot, (gold, predicted, against), drawn=calibration or curve)
    all_sentences = _read_gold(gold, predicted, asked_types(types))
    found = read_found(predicted, reading=NOTED)
    found_against = read_found(against, reading=NOTED) if against else []
    n_covered = n_covered_by(predicted, found, all_sentences)
    if against:
        n_covered = min(n_covered, n_covered_by(against, found_against, all_sentences))
    sentences = all_sentences[: min(n_covered, limit or n_covered)]
    left_out = {sentence.id for sentence in all_sentences[len(sentences) :]}

    def within(mentions: Mentions) -> Mentions:
        return [mention for mention in mentions if mention[0] not in left_out]

    expected = [(sentence.id, mention) for sentence in sentences for mention in sentence.mentions]
    if not found:
        print(f"warning: {predicted}: has no mention, so every one counts as missed", file=sys.stderr)
    found = within(found)
    _warn(gold, all_sentences, predicted, found)
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
        theirs = SentenceCounts.of(sentences, within(found_against))
        title = f"F1 above that of {against}, with 95 % intervals"
        sections["against"] = (title, paired_difference(counts, theirs))
    confident = within(read_confidences(predicted)) if calibration or curve else []
    reliability = Reliability.of(*judge(expected, confident)) if calibration else None
    by_confidence = curves(expected, confident) if curve else None
    if reliability:
        sections["calibration"] = ("", reliability)
    if by_confidence:
        sections["curve"] = ("", by_confidence)
    if json_file:
        more = {key: section.as_dict() for key, (_, section) in sections.items()}
        write_atomically(json_file, [json.dumps({**evaluation.as_dict(), **more}, indent=2), "\n"])
    if plot:
        from ..experiments.report.confidence_figure import save_confidence_figure

        save_confidence_figure(plot, reliability, by_confidence)
    # Last, because what reads it may stop reading.
    sys.stdout.write(evaluation.table())
    for title, section in sections.values():
        sys.stdout.write("\n" + (f"{title}\n" if title else "") + section.table())


def n_covered_by(predicted: Path, found: Mentions, sentences: list[Sentence]) -> int:
    """How many of the sentences an output covers, from the first."""
    return n_covered(predicted, [sentence_id for sentence_id, _ in found], sentences, note)


def _read_gold(gold: Path, predicted: Path, types: Mapping[str, str] | None) -> list[Sentence]:
    """The gold texts, without the damaged files that the run had to skip."""
    record = record_beside(predicted)

    def skip(path: Path, message: str) -> None:
        note(f"skipped as in the run: {message}")

    skipped = skip if record and record.skipped_files else None
    documents = read_documents(gold, reading=NOTED, types=types, on_damaged=skipped)
    return [text for document in documents for text in document.texts()]


def read_confidences(predicted: Path) -> Mentions:
    """The mentions of an output with their confidences, from the mentions file beside it.

    Raises InputError if that file belongs to another output, or if a mention has no confidence.
    """
    path = mentions_path(predicted)
    mentions = read_mentions(path)
    if {mention_key(*m) for m in mentions} != {mention_key(*m) for m in read_found(predicted)}:
        raise InputError(f"{path}: does not belong to {predicted}: the mentions differ; run llm-NERC again")
    n_without = sum(mention.confidence is None for _, mention in mentions)
    if n_without:
        raise InputError(
            f"{path}: {n_without} of {len(mentions)} mentions have no confidence; "
            "run llm-NERC with a local model and without --unconstrained"
        )
    return mentions


def _check_outputs(
    json_file: Path | None, plot: Path | None, read: tuple[Path, Path, Path | None], *, drawn: bool
) -> None:
    """Check before any work that the output files can be written, and replace nothing that is read."""
    names = {"the gold": read[0], "the output to score": read[1], "the file of --against": read[2]}
    for path in (json_file, plot):
        if path:
            require_writable(path)
            require_apart([path], {name: file for name, file in names.items() if file})
    if json_file and plot:
        require_apart([plot], {"the file of --json": json_file})
    if plot and not drawn:
        raise UserError(f"{plot}: nothing to draw; add --calibration or --curve to --plot")
    if plot:
        from ..experiments.report.confidence_figure import require_plot

        require_plot(plot)


def _warn(gold: Path, sentences: list[Sentence], predicted: Path, found: Mentions) -> None:
    """Warn if the two files do not seem to belong together; the table would not show it."""
    if not any(sentence.mentions for sentence in sentences):
        print(f"warning: {gold}: no entities, so every prediction counts as wrong", file=sys.stderr)
    known_types = [mention.type for sentence in sentences for mention in sentence.mentions]
    if types := unknown_types(known_types, (mention.type for _, mention in found)):
        print(f"warning: {predicted}: types that {gold} does not have: {types}", file=sys.stderr)
    known = {sentence.id for sentence in sentences}
    unknown = [sentence_id for sentence_id, _ in found if sentence_id not in known]
    if unknown:
        print(
            f"warning: {predicted}: {len(unknown)} of {len(found)} lines name sentences that are not in "
            f"{gold} (first: {unknown[0]}); they count as wrong",
            file=sys.stderr,
        )


main = CommandLine(score)
