"""`bin/evaluate`: predictions against gold."""

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


class _Figures(Protocol):
    def table(self) -> str: ...

    def as_dict(self) -> dict[str, Any]: ...


def score(
    gold: Annotated[Path, typer.Argument(help="DDI XML with the right entities.")],
    predicted: Annotated[Path, typer.Argument(help="Evaluator lines, as llm-NERC writes them.")],
    errors: Annotated[bool, typer.Option("--errors", help="Errors by kind, with examples.")] = False,
    semeval: Annotated[bool, typer.Option("--semeval", help="The schemes of SemEval-2013.")] = False,
    intervals: Annotated[bool, typer.Option("--intervals", help="95 % intervals of F1.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", help="Other evaluator lines: how much better PREDICTED is.")
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Whether confidences are true: ECE, Brier score.")
    ] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Precision and recall by least confidence, for each type.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw --calibration and --curve into this file.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first N sentences of GOLD."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
) -> None:
    """Print the official table of the DDI evaluator, and whatever else is asked for."""
    _check_outputs(json_file, plot, drawn=calibration or curve)
    all_sentences = [sentence for document in read_ddi(gold) for sentence in document]
    sentences, left_out = all_sentences[:limit], {s.id for s in all_sentences[limit or len(all_sentences) :]}

    def within(mentions: Mentions) -> Mentions:
        return [mention for mention in mentions if mention[0] not in left_out]

    right = [(sentence.id, mention) for sentence in sentences for mention in sentence.mentions]
    found = within(read_predictions(predicted))
    _warn(gold, sentences, predicted, found)
    evaluation = evaluate(right, found)
    counts = SentenceCounts.of(sentences, found)
    sections: dict[str, tuple[str, _Figures]] = {}  # key in the JSON file -> title, figures
    if semeval:
        sections["semeval"] = ("", score_semeval(right, found))
    if errors:
        sections["errors"] = ("", analyse_errors(right, found))
    if intervals:
        sections["intervals"] = ("F1 with 95 % intervals", bootstrap(counts))
    if against:
        theirs = SentenceCounts.of(sentences, within(read_predictions(against)))
        title = f"F1 above that of {against}, with 95 % intervals"
        sections["against"] = (title, paired_difference(counts, theirs))
    sure = within(read_confidences(predicted)) if calibration or curve else []
    reliability = Reliability.of(*judge(right, sure)) if calibration else None
    by_confidence = curves(right, sure) if curve else None
    if reliability:
        sections["calibration"] = ("", reliability)
    if by_confidence:
        sections["curve"] = ("", by_confidence)
    sys.stdout.write(evaluation.table())
    for title, figures in sections.values():
        sys.stdout.write("\n" + (f"{title}\n" if title else "") + figures.table())
    if json_file:
        plain = {**evaluation.as_dict(), **{key: figures.as_dict() for key, (_, figures) in sections.items()}}
        write_atomically(json_file, [json.dumps(plain, indent=2), "\n"])
    if plot:
        from ..experiments.report.confidence_plots import save_confidence_figure

        save_confidence_figure(plot, reliability, by_confidence)


def read_confidences(predicted: Path) -> Mentions:
    """The mentions of an output with their confidences, from the file beside it.

    Raises InputError where that file belongs to another output, or a mention has no confidence.
    """
    path = mentions_path(predicted)
    mentions = read_mentions(path)
    if {mention_key(*m) for m in mentions} != {mention_key(*m) for m in read_predictions(predicted)}:
        raise InputError(f"{path}: does not belong to {predicted}, which holds other mentions")
    n_without = sum(mention.confidence is None for _, mention in mentions)
    if n_without:
        raise InputError(
            f"{path}: {n_without} of {len(mentions)} mentions have no confidence; "
            "llm-NERC gives one where it decodes under the constraint itself"
        )
    return mentions


def _check_outputs(json_file: Path | None, plot: Path | None, *, drawn: bool) -> None:
    """Refuse before any work what could not be written after it."""
    for path in (json_file, plot):
        if path:
            require_writable(path)
    if plot and not drawn:
        raise UserError(f"{plot}: --plot draws --calibration and --curve; ask for one of them")
    if plot:
        from ..experiments.report.confidence_plots import require_plot

        require_plot(plot)


def _warn(gold: Path, sentences: list[Sentence], predicted: Path, found: Mentions) -> None:
    """Say what the table alone would not: that the two files hardly belong together."""
    if not any(sentence.mentions for sentence in sentences):
        print(f"warning: {gold}: no entities; every prediction counts as wrong", file=sys.stderr)
    known = {sentence.id for sentence in sentences}
    unknown = [sentence_id for sentence_id, _ in found if sentence_id not in known]
    if unknown:
        print(
            f"warning: {predicted}: {len(unknown)} of {len(found)} lines are of sentences that {gold} does "
            f"not have (first {unknown[0]}); they count as wrong",
            file=sys.stderr,
        )


def main() -> None:
    """Entry point."""
    run(score)
