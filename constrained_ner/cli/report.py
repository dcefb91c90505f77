"""`bin/report`: one page that compares runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError
from ..experiments.scored_run import find_records, score_runs
from ..files import require_writable, write_atomically
from .run import run


class Track(str, Enum):
    mlflow = "mlflow"


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Records (*.run.json), outputs beside them, or folders of them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The page; a .md with the same name comes with it.")
    ],
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="DDI XML to compare with; by default what each run annotated."),
    ] = None,
    track: Annotated[Track | None, typer.Option("--track", help="Log every run there, too.")] = None,
) -> None:
    """Compare finished RUNS in one self-contained page and a Markdown file."""
    if out.suffix.lower() not in {".html", ".htm"}:
        raise OutputError(f"{out}: the page is HTML: end its name in .html")
    markdown = out.with_suffix(".md")
    for path in (out, markdown):
        require_writable(path)
    if track is Track.mlflow:
        from ..experiments.report.tracking import require_mlflow

        require_mlflow()
    scored = score_runs(find_records(runs), gold)
    from ..experiments.report import Report  # matplotlib and Jinja are an extra

    page = Report.of(scored)
    write_atomically(out, [page.html()])
    write_atomically(markdown, [page.markdown()])
    if track is Track.mlflow:
        from ..experiments.report.tracking import log_to_mlflow

        log_to_mlflow(scored)


def main() -> None:
    """Entry point."""
    run(report)
