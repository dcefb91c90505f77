"""Files of lines, plain or gzipped, and lists of names among them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..files import reason


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a plain or gzipped file, without their newline. Raises InputError."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as f
        ):
            for line in f:
                yield line.rstrip("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None


def read_names(path: Path) -> list[tuple[str, str]]:
    """Lines `name|type` as pairs; empty lines are passed over. Raises InputError for any other."""
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, kind = line.rpartition("|")
        if name and kind:
            pairs.append((name, kind))
        elif line.strip():
            raise InputError(f"{path}: line {number}: {line!r} is not `name|type`")
    return pairs
