"""`bin/llm-NERC`: annotate a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..annotation.settings import Settings
from ..runs.job import annotate_file
from ..runs.progress import ProgressDisplay
from ..runs.team import worker_processes
from .options import (
    LimitOption,
    OverwriteOption,
    QuietOption,
    SkipBadOption,
    SplitOption,
    WorkersOption,
    asked_workers,
    takes_settings,
)
from .run import RESUMES, run


@takes_settings()
def annotate(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="DDI XML file, or a folder of them.")],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Evaluator lines. OUTPUT.mentions.jsonl (with confidences) and OUTPUT.run.json are written "
            "beside it.",
        ),
    ],
    settings: Settings,
    split: SplitOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = "1",
    skip_bad: SkipBadOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A run that is interrupted keeps what it has done beside OUTPUT; the same command resumes it. When it has
    finished, the same command says so and stops.

    \b
    Examples:
      bin/llm-NERC devel.xml out
      bin/llm-NERC devel.xml out --model folder --shots 5 --examples train.xml --select similar
    """
    with worker_processes(asked_workers(workers), settings.model) as pool:
        record = annotate_file(
            input,
            output,
            settings,
            limit=limit,
            split=split,
            skip_damaged=skip_bad,
            keep_finished=not overwrite,
            overwrite=overwrite,
            workers=pool,
            progress=ProgressDisplay(quiet=quiet),
        )
    if record.failures or record.skipped_files:
        raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    run(annotate, stopped=RESUMES)
