"""Text files as people have them: UTF-8, or UTF-16 and UTF-32 with a byte order mark.

The mark is no part of the text; line ends are never translated. No other encoding is guessed: a file in one
is refused with the first byte that does not fit, because a wrong guess changes the text without a word.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError
from ..files import reason, require_content

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 1 << 20


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A file to read text from, as it is. Raises InputError, also while it is read."""
    encoding = "utf-8"
    try:
        with path.open("rb") as content:
            head = content.read(4096)
            require_content(path, InputError, head)
            encoding = encoding_of(path, head)
            content.seek(0)
            yield io.TextIOWrapper(content, encoding, newline="")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise InputError(_not_in_encoding(path, encoding)) from None


def encoding_of(path: Path, head: bytes) -> str:
    """The encoding that the mark at the beginning of a file says; UTF-8 without one.

    Raises InputError for what is plainly UTF-16 without a mark: as UTF-8 it would be full of NUL characters.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) >= 4 and head.count(0) * 3 > len(head):
        raise InputError(f"{path}: not UTF-8 text; if it is UTF-16, save it with a byte order mark")
    return "utf-8"


def _not_in_encoding(path: Path, encoding: str) -> str:
    """What is wrong with a file that cannot be decoded: the first byte that does not fit, and its line."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, before = 1, 0
    with path.open("rb") as content:
        while True:
            block = content.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(encoding, "ignore")
                byte = before - pending + error.start
                name = {"utf-8-sig": "utf-8"}.get(encoding, encoding).upper()
                return (
                    f"{path}: not {name} text: byte {byte} (line {line + good.count(chr(10))}): {error.reason}; "
                    f"if it is in another encoding: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
                )
            before += len(block)
            if not block:
                return f"{path}: not {encoding.upper()} text"
