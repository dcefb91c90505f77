"""`constrained-ner report`: a page that compares runs."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError
from ..experiments.learning import learning_curves
from ..experiments.scored_run import find_records, score_runs
from ..files import require_apart, require_writable, write_atomically
from .run import CommandLine


class Track(str, Enum):
    mlflow = "mlflow"


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS", help="Records (*.run.json), outputs beside their records, or folders."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Write the page here (.html), and a .md file of the same name."),
    ],
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold", help="Score against this annotated file; default: the file that each run annotated."
        ),
    ] = None,
    learning: Annotated[
        Path | None,
        typer.Option(
            "--learning", help="Also draw F1 against the number of examples, of the trainings in this folder."
        ),
    ] = None,
    track: Annotated[
        Track | None, typer.Option("--track", help="Also log every run to this tracker.")
    ] = None,
) -> None:
    """Compare finished RUNS on one self-contained page and in a Markdown file.

      \b
      Examples:
        constrained-ner report results/ --out comparison.html
    constrained-ner report results/ --learning tunings/ --out curve.html
    constrained-ner report a.out b.out --gold devel.xml --out comparison.html --track mlflow
    """
    if out.suffix.lower() not in {".html", ".htm"}:
        raise OutputError(f"{out}: not an HTML file name; end --out in .html")
    markdown = out.with_suffix(".md")
    records = find_records(runs)
    for path in (out, markdown):
        require_writable(path)
    for read in (*runs, *records):
        require_apart([out, markdown], {"one of RUNS": read})
    if gold:
        require_apart([out, markdown], {"the file of --gold": gold})
    if track is Track.mlflow:
        from ..experiments.report.tracking import require_mlflow

        require_mlflow()
    curves = learning_curves(learning) if learning else {}
    scored = score_runs(records, gold)
    from ..experiments.report import ReportPage  # needs matplotlib and Jinja, which are an extra

    page = ReportPage.of(scored, curves)
    write_atomically(out, [page.html()])
    write_atomically(markdown, [page.markdown()])
    print(f"compared {len(scored)} run{'s' * (len(scored) != 1)} in {out} and {markdown}", file=sys.stderr)
    if track is Track.mlflow:
        from ..experiments.report.tracking import log_to_mlflow

        log_to_mlflow(scored)


main = CommandLine(report)
