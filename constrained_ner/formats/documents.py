"""Reading an input of any format: a file, or a folder of files of one format.

    for document in read_documents(Path("corpus"), reading=Reading(notify=print)):
        ...

The format is known by the name's end and the first lines, unless it is stated. Ids of documents are unique in
the whole input: one that repeats is qualified by its file, and that is said once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data import Document, Mention
from ..errors import DamagedFilesError, InputError, UserError
from ..files import encoding_of, output_errors, reason, require_content
from . import FORMATS
from .brat import ANNOTATIONS
from .ddi import read_ddi
from .input_ids import InputIds
from .protocol import Format, Reading

READ_IN_FOLDERS = tuple(sorted({s for format in FORMATS.values() if format.read for s in format.suffixes}))
"""How the names of the files end that are read in a folder, but for the records of runs."""

_LINES, _OF_LINES = "lines", ("", ".out", ".txt", ".lines")
_HEAD = 1 << 16  # bytes by which a format is recognised

OnDamaged = Callable[[Path, str], None]


def read_documents(
    path: str | Path,
    *,
    format: str | None = None,
    reading: Reading | None = None,
    types: Mapping[str, str] | None = None,
    on_damaged: OnDamaged | None = None,
) -> Iterator[Document]:
    """The documents of a file, or of the files of one format below a folder, sorted by path.

    Raises InputError naming file, place and value.

    Args:
        path: of the file or folder.
        format: a name in `FORMATS`; None to recognise it.
        reading: how to read, and whom to tell what had to be decided.
        types: what the file calls a type -> what we call it; mentions of other types are left out, which is
            said.
        on_damaged: called for each file of a folder that cannot be read, with the reason; the others are
            read. Without it, DamagedFilesError names them all.
    """
    path = Path(path)
    reading = reading or Reading()
    name, files = _files(path, format)
    documents: Iterable[Document]
    if name == "ddi":  # whose files are judged together: ends of offsets, ids
        documents = read_ddi(path, notify=reading.notify, on_damaged=on_damaged)
    else:
        ids = InputIds(path, reading.notify)
        read = _read(path, files, FORMATS[name], reading, on_damaged)
        documents = (ids.named(document, file) for file, document in read)
    yield from documents if types is None else _retyped(documents, types, path, reading)


def _read(
    path: Path, files: list[Path], format: Format, reading: Reading, on_damaged: OnDamaged | None
) -> Iterator[tuple[Path, Document]]:
    """Every document with its file."""
    read = format.read
    assert read is not None
    damaged: dict[Path, str] = {}
    for file in files:
        try:
            for document in read(file, reading):
                yield file, document
        except InputError as error:
            damaged[file] = str(error)
            if on_damaged is not None and len(files) > 1:
                on_damaged(file, str(error))
    if damaged and (len(damaged) == len(files) or on_damaged is None):
        raise DamagedFilesError.of(path, list(damaged.values()), len(files))


def read_found(
    path: str | Path, *, format: str | None = None, reading: Reading | None = None
) -> list[tuple[str, Mention]]:
    """The mentions of a result of any format, each with the id of the text that its offsets count in.

    A file whose name does not say its format has evaluator lines. Raises InputError.
    """
    path = Path(path)
    if format is None:
        format = _LINES if path.suffix in _OF_LINES and not os.path.isdir(path) else _files(path, None)[0]
    known = FORMATS[format].read_mentions if format in FORMATS else None
    if known is not None:
        return known(path)
    return [
        found
        for document in read_documents(path, format=format, reading=reading)
        for found in document.located()
    ]


# ---- which files, and of which format


def format_of(path: str | Path) -> str:
    """The name of the format of an input. Raises InputError if it is not known."""
    return _files(Path(path), None)[0]


def _files(path: Path, format: str | None) -> tuple[str, list[Path]]:
    """The input's format, and its files. Raises InputError if there are none, or of several formats."""
    if format is not None and (format not in FORMATS or FORMATS[format].read is None):
        known = ", ".join(name for name, format_ in FORMATS.items() if format_.read)
        raise UserError(f"{format!r} is not a format that can be read: choose one of {known}")
    if not os.path.exists(path):  # Path.exists raises if a folder above is not readable
        raise InputError(f"{path}: no such file or folder")
    if not os.path.isdir(path):
        return format or _recognised(path) or "", [path]
    by_format = _by_format(sorted(_candidates(path)), format)
    if "brat" in by_format and "text" in by_format:  # texts that nobody has annotated yet
        by_format["brat"] = sorted(by_format["brat"] + by_format.pop("text"))
    for notes in ("text", "html"):  # which lie beside a corpus
        if len(by_format) > 1:
            by_format.pop(notes, None)
    if not by_format:
        raise InputError(f"{path}: no files in this folder that can be read")
    if len(by_format) > 1:
        found = ", ".join(f"{len(files)} {name}" for name, files in by_format.items())
        raise InputError(f"{path}: files of several formats ({found}); choose one with --from")
    return next(iter(by_format.items()))


def _by_format(files: Sequence[Path], format: str | None) -> dict[str, list[Path]]:
    """The files of each format.

    One that is not recognised is damaged, if others that end like it are of a format; if not, it merely lies
    beside a corpus.
    """
    if format is not None:
        found = [file for file in files if _has_suffix(FORMATS[format], file)]
        return {format: found} if found else {}
    by_format: dict[str, list[Path]] = {}
    strange: list[Path] = []
    for file in files:
        name = _recognised(file, strictly=True)
        if name is None:
            strange.append(file)
        else:
            by_format.setdefault(name, []).append(file)
    for file in strange:
        name = next((name for name in by_format if _has_suffix(FORMATS[name], file)), None)
        if name is not None:
            by_format[name] = sorted([*by_format[name], file])
        elif len(strange) == len(files):
            by_format.setdefault(_recognised(file) or "", []).append(file)
    return by_format


def _candidates(folder: Path) -> Iterator[Path]:
    """The files below a folder whose names end like those of a format, without results of runs."""
    with output_errors(folder):
        for file in folder.rglob("*"):
            if file.name.startswith(".") or not file.is_file():
                continue
            if file.suffix.lower() in ANNOTATIONS and file.with_suffix(".txt").exists():
                continue  # read with its text
            if any(_has_suffix(format, file) for format in FORMATS.values() if format.read) and not (
                file.name.endswith((".run.json", ".mentions.jsonl"))
            ):
                yield file


def _has_suffix(format: Format, path: Path) -> bool:
    return path.name.lower().endswith(format.suffixes)


def _recognised(path: Path, *, strictly: bool = False) -> str | None:
    """The format of a file. Raises InputError if no format knows it.

    strictly: None then, and also if its name is of a format but its content is not.
    """
    head = file_head(path)
    readable = {name: format for name, format in FORMATS.items() if format.read}
    by_suffix = {name: format for name, format in readable.items() if _has_suffix(format, path)}
    for name, format in by_suffix.items():
        if format.recognises is None or format.recognises(path, head):
            return name
    if strictly:
        return None
    if by_suffix:  # the reader says what is wrong
        own = [name for name, f in by_suffix.items() if path.name.lower().endswith(f.suffixes[0])]
        return (own or list(by_suffix))[0]
    for name, format in readable.items():
        if format.recognises is not None and format.recognises(path, head):
            return name
    if not path.suffix and re.match(r"[^|\n]*\|[0-9;-]+\|[^\n]*\|[^|\n]*\n", head):
        raise InputError(f"{path}: evaluator lines, without their texts: only evaluate can read them")
    if not path.suffix:
        return "text"
    known = ", ".join(readable)
    raise InputError(f"{path}: unknown format; choose one with --from: {known}")


def file_head(path: Path) -> str:
    """The beginning of a file as text, whatever is wrong with it. Raises InputError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    require_content(path, InputError, content)
    return content.decode(encoding_of(content), errors="replace").removeprefix("\ufeff")


# ---- types


def _retyped(
    documents: Iterable[Document], types: Mapping[str, str], path: Path, reading: Reading
) -> Iterator[Document]:
    """The documents with other names of types, and without mentions whose type has none."""
    left_out: Counter[str] = Counter()
    for document in documents:
        sentences = []
        for sentence in document:
            left_out.update(m.type for m in sentence.mentions if m.type not in types)
            kept = [replace(m, type=types[m.type]) for m in sentence.mentions if m.type in types]
            sentences.append(sentence.with_mentions(kept))
        yield replace(document, sentences=tuple(sentences))
    if left_out:
        counts = ", ".join(f"{n} {name}" for name, n in sorted(left_out.items()))
        reading.notify(f"{path}: mentions of types that --types does not name are left out: {counts}")
