"""`constrained-ner ablate`: a grid of runs that differ in one thing at a time, and its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer

from ..annotation.settings import Settings
from ..decoding.engines import EngineName
from ..errors import UserError
from ..experiments.comparison import EXPLANATION
from ..experiments.grid import grid, run_grid
from ..prompting.examples.request import SELECTIONS
from ..runs.progress import ProgressDisplay
from ..training.operating_point import fit_operating_point
from .options import LimitOption, QuietOption, SplitOption, WorkersOption, asked_workers, takes_settings
from .run import RESUMES, CommandLine, complain

_ARMS = {"constrained": True, "unconstrained": False}
_DECODERS = ("copy-draft", "stepwise")
_ENGINES: tuple[EngineName, ...] = get_args(EngineName)
_OWN = "Grid"
_VARIED = (
    *("model", "prompt", "shots", "select", "constrained", "decoder", "engine"),
    *("operating_point", "lexicon"),
)
_FIXED = ("consistency", "min_confidence")  # arms differ in what is compared, and in nothing after it

Value = TypeVar("Value", bound=str)


@takes_settings(without=(*_VARIED, *_FIXED))
def ablate(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="Annotated file or folder of any format.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the runs and the table.")],
    settings: Settings,
    arms: Annotated[
        str,
        typer.Option(
            help="constrained, unconstrained. Differences are to the first arm.", rich_help_panel=_OWN
        ),
    ] = "constrained,unconstrained",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="As for llm-NERC; repeat it for more. Default: the bundled model.", rich_help_panel=_OWN
        ),
    ] = None,
    shots: Annotated[str, typer.Option(help="Numbers of examples.", rich_help_panel=_OWN)] = "0",
    select: Annotated[
        str,
        typer.Option(help=f"{', '.join(SELECTIONS)}, or files of sentence ids.", rich_help_panel=_OWN),
    ] = "diverse",
    prompt: Annotated[
        str | None,
        typer.Option(
            help="plain, strict, guide, bare, or prompt files. Default: the adapter's, or plain.",
            rich_help_panel=_OWN,
        ),
    ] = None,
    decoder: Annotated[
        str, typer.Option(help="Of constrained arms: copy-draft, stepwise.", rich_help_panel=_OWN)
    ] = "copy-draft",
    engine: Annotated[
        str, typer.Option(help=f"Of constrained arms: {', '.join(_ENGINES)}.", rich_help_panel=_OWN)
    ] = "native",
    operating_point: Annotated[
        str,
        typer.Option(
            help="Of constrained arms: none, auto, precision=NUMBER, content-free, or files.",
            rich_help_panel=_OWN,
        ),
    ] = "none",
    lexicon: Annotated[
        str,
        typer.Option(
            help="Of constrained arms: none, public, or files of name|type lines.", rich_help_panel=_OWN
        ),
    ] = "none",
    limit: LimitOption = None,
    split: SplitOption = None,
    workers: WorkersOption = "1",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace results of other settings in OUT.", rich_help_panel="Run"),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run every combination of what is listed on INPUT, and print one table.

    Separate the values of a list by commas. The same command resumes an interrupted grid; finished arms are
    not repeated. OUT holds each arm's output and record, and the table as .md, .csv and .json.

    \b
    Examples:
      constrained-ner ablate devel.xml --out grid
      constrained-ner ablate devel.xml --model tiny --shots 0,5 --examples train.xml --out grid
    """
    chosen = grid(
        settings,
        model=model or (None,),
        prompt=_values("--prompt", prompt) if prompt else (None,),
        shots=[_number(text) for text in _values("--shots", shots)],
        select=_values("--select", select),
        constrained=[_ARMS[name] for name in _known("--arms", arms, tuple(_ARMS))],
        decoder=_known("--decoder", decoder, _DECODERS),
        engine=_known("--engine", engine, _ENGINES),
        operating_point=[None if v == "none" else v for v in _values("--operating-point", operating_point)],
        lexicon=_values("--lexicon", lexicon),
    )
    progress = ProgressDisplay(quiet=quiet)
    outcome = run_grid(
        chosen,
        input,
        out,
        limit=limit,
        split=split,
        overwrite=overwrite,
        workers=asked_workers(workers),
        progress=progress,
        fit=fit_operating_point,
    )
    outcome.save(out)
    sys.stdout.write(f"{outcome.comparison.table(options=False).text()}{EXPLANATION}\n")
    for arm, message in outcome.failed.items():
        complain(f"arm {arm.name}: {message}")
    if outcome.failed:
        raise typer.Exit(1)


def _values(option: str, text: str) -> list[str]:
    """The values of a list, each once."""
    values = list(dict.fromkeys(value for part in text.split(",") if (value := part.strip())))
    if not values:
        raise UserError(f"{option}: the list {text!r:.80} is empty")
    return values


def _known(option: str, text: str, known: Sequence[Value]) -> list[Value]:
    """The values of a list, which must be among those that are known."""
    by_text = {str(value): value for value in known}
    values = _values(option, text)
    for value in values:
        if value not in by_text:
            raise UserError(f"{option}: {value!r:.80} is not one of {', '.join(by_text)}")
    return [by_text[value] for value in values]


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise UserError(f"--shots: {text!r:.80} is not a number of examples")
    return int(text)


main = CommandLine(ablate, stopped=RESUMES)
