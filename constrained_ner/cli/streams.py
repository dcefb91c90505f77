"""Standard input and output in place of files: texts from a pipe, results into one."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..annotation.settings import Settings
from ..data import Document
from ..errors import InputError, UserError
from ..formats import FORMATS, writable
from ..formats.protocol import Losses
from ..rendering.palette import colours_of
from ..rendering.terminal import colour_depth, coloured
from ..runs.operating_point import FitPoint
from ..runs.progress import ProgressDisplay
from ..runs.source import Input, Source
from ..runs.stream import annotate_stream
from ..runs.workers import WorkerProcesses
from ..schema import DDI
from .run import complain

STANDARD_INPUT = "standard input"


@contextmanager
def from_standard_input(input: Path) -> Iterator[Path]:
    """The input; what comes through the pipe if it is `-`, in a file that is gone afterwards."""
    if str(input) != "-":
        yield input
        return
    if sys.stdin is None or sys.stdin.closed:
        raise InputError(f"{STANDARD_INPUT}: is closed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except UserError as error:
            raise type(error)(str(error).replace(str(path), STANDARD_INPUT)) from None


def to_standard_output(
    input: Input,
    settings: Settings,
    to: str | None,
    *,
    workers: WorkerProcesses | None,
    progress: ProgressDisplay,
    fit: FitPoint | None = None,
) -> bool:
    """Print each document as soon as it is annotated. Returns whether something failed.

    to: format; None for JSON lines, or for coloured text on a terminal.
    """
    with progress.during(f"reading {input.name}"):
        source = Source.check(input, progress.note)
    for path, why in source.skipped:
        complain(f"{path}: {why}")
    failed = bool(source.skipped)

    def documents() -> Iterator[Document]:
        nonlocal failed
        for document in annotate_stream(source, settings, workers=workers, progress=progress, fit=fit):
            failed |= any(sentence.failure is not None for sentence in document)
            yield document

    if to is None and sys.stdout.isatty():
        schema = settings.read_schema() or DDI
        colours, depth = colours_of(schema.type_names), colour_depth(sys.stdout)
        for document in documents():
            for sentence in document:
                print(coloured(sentence.text, sentence.mentions, colours, depth), flush=True)
        return failed
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the code page: what is lost could not be told
        sys.stdout.reconfigure(encoding="utf-8")
    losses = Losses()
    write = writable(to or "jsonl").write
    if write is None:
        possible = ", ".join(name for name, format in FORMATS.items() if format.write)
        raise UserError(f"--to {to}: cannot be written to standard output; name a file, or use {possible}")
    for piece in write(documents(), losses):
        sys.stdout.write(piece)
        sys.stdout.flush()
    losses.tell("standard output", to or "jsonl", progress.note)
    return failed
