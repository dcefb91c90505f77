"""`bin/llm-NERC`: annotate a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..annotation.settings import Settings
from ..runs.job import annotate_file
from ..runs.progress import ProgressDisplay
from ..runs.team import worker_processes
from .options import LimitOption, QuietOption, SplitOption, WorkersOption, asked_workers, takes_settings
from .run import RESUMES, run


@takes_settings()
def annotate(
    input: Annotated[Path, typer.Argument(help="DDI XML file, or a folder of them.")],
    output: Annotated[
        Path,
        typer.Argument(
            help="Evaluator lines. OUTPUT.mentions.jsonl (with confidences) and OUTPUT.run.json are written "
            "beside it."
        ),
    ],
    settings: Settings,
    split: SplitOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = "1",
    quiet: QuietOption = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A run that is interrupted keeps what it has done beside OUTPUT; the same command resumes it.
    """
    progress = ProgressDisplay(quiet=quiet)
    with worker_processes(asked_workers(workers), settings.model) as pool:
        record = annotate_file(
            input, output, settings, limit=limit, split=split, workers=pool, progress=progress
        )
    if record.failures:
        raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    run(
        annotate,
        stopped=RESUMES,
        examples=[
            "llm-NERC devel.xml out",
            "llm-NERC devel.xml out --model folder --shots 5 --examples train.xml --select similar",
        ],
    )
