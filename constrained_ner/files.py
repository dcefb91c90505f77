"""Files: reading, hashing, atomic writing. Failures become errors that name the file."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from .errors import InputError, OutputError, UserError

# ---- reading

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_text(path: Path, error: type[UserError]) -> str:
    """The text of a UTF-8 file. Raises `error` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(_unreadable(path, problem)) from None
    require_content(path, error, text[: len(_LFS_POINTER)].encode())
    return text


def require_content(path: str | Path, error: type[UserError], content: bytes | None = None) -> None:
    """Raise `error` if a file is what Git leaves in place of a large file that was not fetched.

    path: the file, or a folder of them. content: how the file begins, if the caller has read it. A file that
    cannot be read passes.
    """
    if content is None and os.path.isdir(path):
        for file in sorted(os.listdir(path)):
            if not os.path.isdir(os.path.join(path, file)):
                require_content(os.path.join(path, file), error)
        return
    if content is None:
        try:
            with open(path, "rb") as opened:
                content = opened.read(len(_LFS_POINTER))
        except OSError:
            return
    if content.startswith(_LFS_POINTER):
        raise error(f"{path}: a Git LFS pointer, not the file itself; fetch it with: git lfs pull")


def read_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 file, plain or gzipped (`.gz`), without line ends and byte order mark.

    Raises InputError.
    """
    path = Path(path)
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file):
                if not number:
                    require_content(path, InputError, line.encode())
                yield line.rstrip("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise InputError(_unreadable(path, problem)) from None


def _unreadable(path: Path, problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return f"{path}: not UTF-8 text: byte {problem.start}: {problem.reason}"
    return f"{path}: cannot be read: {reason(problem)}"


def reason(error: Exception) -> str:
    """The message of an error, without the path that an OSError adds."""
    return str(getattr(error, "strerror", None) or error)


def shown(path: str | Path) -> str:
    """A path as text that every file and every terminal takes, whatever the bytes of its name.

    Example: b"caf\\xe9.xml", which is not UTF-8 -> "caf\\\\xe9.xml", with a backslash
    """

    def escaped(surrogate: re.Match[str]) -> str:
        code = ord(surrogate[0])  # a byte that is not UTF-8 is in the name as a surrogate from U+DC80
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code < 0xDD00 else f"\\u{code:04x}"

    return re.sub("[\ud800-\udfff]", escaped, str(path))


def shown_path(name: str) -> Path:
    """The file whose path is shown as `name`; Path(name) if there is none."""
    path = Path(name)
    if "\\" in name and not os.path.exists(path):
        with contextlib.suppress(OSError):
            return next((p for p in path.parent.iterdir() if shown(p) == name), path)
    return path


def first_misfit(error: ValidationError, whole: str) -> str:
    """The first field that failed validation, and why. whole: what to call the outermost level.

    Example: "types.0.name: Field required"
    """
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or whole
    return f"{place}: {first['msg']}"


# ---- hashing


def plain_json(content: Any) -> str:
    """The content as compact JSON, for hashing: the same text as pydantic's dump of a model with it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file; for a folder, of the names and hashes of all files below it.

    Reads in pieces, because a model file may be larger than memory. Raises InputError.
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
        raise InputError(_unreadable(path, error)) from None
    return digest.hexdigest()


def hash_of_folder(folder: Path) -> str:
    """SHA-256 over names and contents of the files with a model's configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*config.json"), *folder.glob("*.safetensors")]):
        digest.update(f"{path.name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


# ---- writing


def cache_folder() -> Path:
    """`constrained-ner` in $XDG_CACHE_HOME, in %LOCALAPPDATA% on Windows, or in ~/.cache.

    Raises RuntimeError if the user has no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "constrained-ner"


def require_writable(path: str | Path) -> None:
    """Raise OutputError if a file at `path` clearly cannot be written. Checks without writing."""
    path = Path(path)
    if str(path) == "-":
        raise OutputError("-: results are not written to standard output; name a file")
    # os.path, because the methods of Path raise if a folder above is not readable.
    if os.path.isdir(path):
        raise OutputError(f"{path}: cannot be written: it is a folder")
    exists = os.path.exists(path)
    if exists and not os.path.isfile(path):
        raise OutputError(f"{path}: cannot be written: it is not a regular file")
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    if not os.access(path if exists else path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: Permission denied")


def require_apart(outputs: Iterable[Path], read: Mapping[str, str | Path]) -> None:
    """Raise OutputError if an output would replace something that is read, or be read by the next run.

    read: what is read, by what it is called. Of a folder, every `*.xml` is read.
    """
    for output in outputs:
        real = Path(os.path.realpath(output))
        for name, path in read.items():
            source = Path(os.path.realpath(path))
            if real == source or _same_file(real, source):
                raise OutputError(f"{output}: is {name}; it would be overwritten")
            if real.suffix.lower() == ".xml" and source in real.parents and os.path.isdir(source):
                raise OutputError(
                    f"{output}: would be read as part of {name} the next time; "
                    "end the name in something else than .xml, or choose another folder"
                )


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, by a hard link or on a file system that ignores case."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return False


def replaceable(path: str | Path) -> Path:
    """The file that a link points to, so that a rename replaces the file and not the link."""
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[str]]:
    """A text file to write to, moved into place when the block ends without an error.

    At any moment `path` has all of its old content or all of the new. The new content goes to `path.part`
    first: a rename is atomic only within a file system, so it is in the same folder. Raises OutputError.
    """
    part = path.with_name(path.name + ".part")
    try:
        with output_errors(path):
            with part.open("w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, chunks: Iterable[str]) -> None:
    """Write a whole file through `atomic_writer`."""
    with atomic_writer(path) as file:
        file.writelines(chunks)


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from None
