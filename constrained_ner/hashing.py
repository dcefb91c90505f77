"""What tells one model, adapter or file from another in a record: a hash of its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import InputError


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder: over the names and hashes of all the files below it.

    Raises InputError. Reads in pieces: model files are larger than memory.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                digest.update(f"{file.relative_to(path).as_posix()}\0{file_hash(file)}\n".encode())
            return digest.hexdigest()
        with path.open("rb") as content:
            while piece := content.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()
