"""`constrained-ner annotate`: annotate texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..annotation.settings import Settings
from ..errors import UserError
from ..runs.cluster import Cluster, annotate_on_cluster
from ..runs.job import annotate_file
from ..runs.progress import ProgressDisplay
from ..runs.source import Input
from ..runs.team import worker_processes
from ..training.operating_point import fit_operating_point
from .options import (
    ColumnsOption,
    CpusPerModelOption,
    FromOption,
    GpusPerModelOption,
    IdFieldOption,
    LimitOption,
    OverwriteOption,
    QuietOption,
    RayOption,
    SkipBadOption,
    SplitOption,
    TextFieldOption,
    ToOption,
    TypesOption,
    WorkersOption,
    asked_reading,
    asked_types,
    asked_workers,
    takes_settings,
)
from .run import RESUMES, CommandLine
from .streams import STANDARD_INPUT, from_standard_input, to_standard_output


@takes_settings()
def annotate(
    input: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="File or folder: text, JSON lines, CSV, DDI XML, BRAT, ...; - for a pipe.",
        ),
    ],
    settings: Settings,
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUT",
            help="Evaluator lines, or what its name or --to says. OUTPUT.mentions.jsonl (with confidences) "
            "and OUTPUT.run.json are written beside it. Default, or -: JSON lines on standard output.",
            show_default=False,
        ),
    ] = None,
    from_format: FromOption = None,
    to: ToOption = None,
    text_field: TextFieldOption = None,
    id_field: IdFieldOption = None,
    columns: ColumnsOption = None,
    types: TypesOption = None,
    split: SplitOption = None,
    limit: LimitOption = None,
    workers: WorkersOption = "1",
    ray: RayOption = None,
    cpus_per_model: CpusPerModelOption = 1.0,
    gpus_per_model: GpusPerModelOption = 0.0,
    skip_bad: SkipBadOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A run that is interrupted keeps what it has done beside OUTPUT; the same command resumes it. When it has
    finished, the same command says so and stops.

    \b
    Examples:
      constrained-ner annotate devel.xml out
      constrained-ner annotate leaflet.txt leaflet.jsonl
      echo "Ketoconazole raises midazolam levels." | constrained-ner annotate -
      constrained-ner annotate devel.xml out --model folder --shots 5 --examples train.xml --select similar
      constrained-ner annotate corpus.parquet folder --ray auto --to parquet
    """
    with from_standard_input(input) as path, worker_processes(asked_workers(workers), settings.model) as pool:
        source = Input(
            path,
            called=None if path == input else STANDARD_INPUT,
            format=from_format,
            reading=asked_reading(text_field, id_field, columns),
            example_types=asked_types(types),
            limit=limit,
            split=split,
            skip_damaged=skip_bad,
        )
        progress = ProgressDisplay(quiet=quiet)
        if ray is not None:
            if output is None or str(output) == "-" or workers != "1":
                raise UserError(
                    "--ray writes a folder of partitions: name it (OUTPUT), and leave --workers out"
                )
            record = annotate_on_cluster(
                source,
                output,
                settings,
                Cluster(ray, cpus_per_model, gpus_per_model),
                to=to or "jsonl",
                overwrite=overwrite,
                progress=progress,
            )
            failed = bool(record.failures or record.skipped_files)
        elif output is None or str(output) == "-":
            failed = to_standard_output(
                source, settings, to, workers=pool, progress=progress, fit=fit_operating_point
            )
        else:
            record = annotate_file(
                source,
                output,
                settings,
                to=to,
                keep_finished=not overwrite,
                overwrite=overwrite,
                workers=pool,
                progress=progress,
                fit=fit_operating_point,
            )
            failed = bool(record.failures or record.skipped_files)
    if failed:
        sys.stdout.flush()
        raise typer.Exit(1)


main = CommandLine(annotate, stopped=RESUMES)
