"""Writing an output of any format: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data import Document
from ..errors import UserError
from ..files import atomic_writer, atomic_writer_of_bytes, output_errors, replaceable
from . import FORMATS, writable
from .protocol import Format, Losses

DEFAULT = "lines"
"""The format of an output whose name does not say one."""

Write = Callable[[Iterable[Document]], None]


def format_by_name(output: str | Path) -> str:
    """The format that an output's name asks for. Raises UserError if it could be several.

    Example: "out.jsonl" -> "jsonl"; "out" and "out.txt" -> "lines"
    """
    name = Path(output).name.lower()
    files = {
        known: format.suffixes for known, format in FORMATS.items() if format.write or format.write_bytes
    }
    own = {suffixes[0]: known for known, suffixes in files.items() if name.endswith(suffixes[:1])}
    if own:
        return own[max(own, key=len)]
    named = Path(name).suffix.removeprefix(".")  # a folder such as out.brat
    if named in FORMATS and named != "text":
        return named
    could_be = [known for known, suffixes in files.items() if name.endswith(suffixes)]
    if len(could_be) == 1:
        return could_be[0]
    if could_be and not name.endswith(".txt"):
        raise UserError(f"{output}: could be any of {', '.join(could_be)}; choose one with --to")
    return DEFAULT


@contextmanager
def open_output(format: str | Format, output: Path, losses: Losses) -> Iterator[Write]:
    """A function that writes documents to a file, or to a folder for formats of several files.

    A file is moved into place when the block ends without an error, and so is each file of a folder.
    losses: takes what the format cannot express. Raises OutputError.
    """
    form = writable(format) if isinstance(format, str) else format
    if write := form.write:
        with atomic_writer(replaceable(output)) as file:
            yield lambda documents: file.writelines(write(documents, losses))
    elif write_bytes := form.write_bytes:
        with atomic_writer_of_bytes(replaceable(output)) as binary:
            yield lambda documents: binary.writelines(write_bytes(documents, losses))
    else:
        with _folder(output) as folder:
            yield lambda documents: _fill(folder, form, documents, losses)


def _fill(folder: Path, form: Format, documents: Iterable[Document], losses: Losses) -> None:
    assert form.write_folder is not None
    for name, piece in form.write_folder(documents, losses):
        with (folder / name).open("a", encoding="utf-8", newline="") as file:
            file.write(piece)


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """A new folder, the files of which are moved into `output` when the block ends without an error."""
    with output_errors(output):
        part = Path(tempfile.mkdtemp(prefix=f"{output.name}.", dir=output.parent))
    try:
        with output_errors(output):
            yield part
            for file in part.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            output.mkdir(exist_ok=True)
            for file in sorted(part.iterdir()):
                os.replace(file, output / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
