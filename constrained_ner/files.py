"""Files: reading, hashing, atomic writing. Failures become errors that name the file."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, AnyStr

from .errors import InputError, OutputError, UserError

# ---- reading

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_text(path: Path, error: type[UserError]) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises `error` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
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


def read_lines(path: str | Path) -> Generator[str, None, None]:
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


def decoded(path: Path) -> str:
    """The text of a file as it is: line ends, NULs and all. UTF-8, or what its byte order mark says (UTF-16).

    The mark is no part of the text. Raises InputError naming file, line and byte.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(_unreadable(path, problem)) from None
    require_content(path, InputError, content)
    encoding = encoding_of(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        before = problem.object[: problem.start].decode(encoding, errors="replace")
        raise InputError(_not_decodable(path, problem, encoding, 0, 1 + before.count("\n"))) from None


def decoded_lines(path: Path) -> Iterator[str]:
    """The lines of a file as `decoded` reads it, one at a time, each with its line end.

    A line ends with LF, or CR LF; a CR alone is text. Raises InputError naming file, line and byte, when it
    gets there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
            require_content(path, InputError, head)
            encoding = encoding_of(head)
            file.seek(0)
            if encoding.startswith("utf-16"):
                # Each byte of a line end may be half of a character.
                yield from _wide_lines(path, file, encoding)
                return
            at_byte = 0
            for number, line in enumerate(file, start=1):
                encoding = encoding if number == 1 else "utf-8"
                try:
                    yield line.decode(encoding)
                except UnicodeDecodeError as problem:
                    raise InputError(_not_decodable(path, problem, encoding, at_byte, number)) from None
                at_byte += len(line)
    except OSError as problem:
        raise InputError(_unreadable(path, problem)) from None


def decoded_pieces(path: Path) -> Iterator[str]:
    """The text of a file as `decoded` reads it, in pieces, whatever the length of its lines."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
            require_content(path, InputError, head)
            decoder = codecs.getincrementaldecoder(encoding_of(head))()
            yield decoder.decode(head)
            while piece := file.read(1 << 16):
                yield decoder.decode(piece)
            yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        decoded(path)  # says where
        raise
    except OSError as problem:
        raise InputError(_unreadable(path, problem)) from None


def _wide_lines(path: Path, file: IO[bytes], encoding: str) -> Iterator[str]:
    with io.TextIOWrapper(file, encoding=encoding, newline="\n") as text:
        try:
            yield from text
        except UnicodeDecodeError:
            decoded(path)  # says where
            raise


def encoding_of(head: bytes) -> str:
    """The encoding that the byte order mark at the beginning of a file tells; "utf-8" if there is none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"


def _not_decodable(path: Path, problem: UnicodeDecodeError, encoding: str, offset: int, line: int) -> str:
    """offset: bytes of the file before those that were decoded."""
    # "utf-8-sig" counts from behind the mark.
    byte = offset + problem.start + len(codecs.BOM_UTF8) * (encoding == "utf-8-sig")
    name = "UTF-16" if encoding == "utf-16" else "UTF-8"
    return f"{path}: line {line}: byte {byte} (0x{problem.object[problem.start]:02x}) is not {name} text"


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


def require_writable(path: str | Path, *, folder: bool = False) -> None:
    """Raise OutputError if a file at `path` clearly cannot be written. Checks without writing.

    folder: whether it is a folder that is to be written.
    """
    path = Path(path)
    if str(path) == "-":
        raise OutputError("-: results are not written to standard output; name a file")
    # os.path, because the methods of Path raise if a folder above is not readable.
    if os.path.isdir(path) and not folder:
        raise OutputError(f"{path}: cannot be written: it is a folder")
    exists = os.path.exists(path)
    if folder and os.path.isfile(path):
        raise OutputError(f"{path}: cannot be written: it is a file, and the format needs a folder")
    if exists and not folder and not os.path.isfile(path):
        raise OutputError(f"{path}: cannot be written: it is not a regular file")
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    if not os.access(path if exists else path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: Permission denied")


def require_apart(
    outputs: Iterable[Path], read: Mapping[str, str | Path], read_again: tuple[str, ...] = (".xml",)
) -> None:
    """Raise OutputError if an output would replace something that is read, or be read by the next run.

    read: what is read, by what it is called. read_again: how the names of the files end that are read in a
    folder, in small letters.
    """
    for output in outputs:
        real = Path(os.path.realpath(output))
        for name, path in read.items():
            source = Path(os.path.realpath(path))
            if real == source or _same_file(real, source):
                raise OutputError(f"{output}: is {name}; it would be overwritten")
            if real.name.lower().endswith(read_again) and source in real.parents and os.path.isdir(source):
                raise OutputError(
                    f"{output}: would be read as part of {name} the next time; choose another folder"
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
    with _atomic(path, lambda part: part.open("w", encoding="utf-8", newline="")) as file:
        yield file


@contextlib.contextmanager
def atomic_writer_of_bytes(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, like that of `atomic_writer`."""
    with _atomic(path, lambda part: part.open("wb")) as file:
        yield file


@contextlib.contextmanager
def _atomic(path: Path, opening: Callable[[Path], IO[AnyStr]]) -> Iterator[IO[AnyStr]]:
    part = path.with_name(path.name + ".part")
    try:
        with output_errors(path):
            with opening(part) as file:
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
