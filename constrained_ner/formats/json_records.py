"""The records of a JSON file, one at a time: a JSON value a line, or one list of values, or a single value.

What the file holds decides, not its suffix: JSON lines are often called .json, and lists .jsonl.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import InputError
from ..files import open_text

_BLOCK = 1 << 16
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\r\n]*")
_LONGEST_LINE = 1 << 22


class JsonRecord(NamedTuple):
    """A value of a file. number: counts from 1. place: where it is, such as "line 3"."""

    number: int
    place: str
    value: Any


class BrokenRecord(NamedTuple):
    """A line that is not JSON. why: line and reason."""

    number: int
    why: str


def json_records(path: Path) -> Iterator[JsonRecord | BrokenRecord]:
    """The records of a file. Raises InputError if it is empty, or one value that is not JSON."""
    with open_text(path) as file:
        first = list(itertools.islice(_lines_that_say_something(file), 4))
        if not first:
            raise InputError(f"{path}: the file is empty")
        file.seek(0)
        if _in_lines(path, first):
            yield from _of_lines(file)
        elif first[0].lstrip().startswith("["):
            yield from _of_list(path, file)
        else:
            yield from _of_value(path, file)


def _lines_that_say_something(file: IO[str]) -> Iterator[str]:
    """The lines that are not blank; of a longer one, as much as tells lines from a list."""
    while line := file.readline(_LONGEST_LINE):
        if line.strip():
            yield line


def _in_lines(path: Path, first: list[str]) -> bool:
    """Whether each line is a record. first: the first lines."""
    if first[0].strip() in ("[", "{", "[[", "[{"):  # goes on in the next line, as in indented JSON
        return False
    named_so = path.suffix.lower() in (".jsonl", ".ndjson", ".jsonlines")
    if len(first) == 1:
        return named_so and not re.match(r"\s*\[\s*[\[{\]]", first[0])  # a list of records may be one line
    return named_so or _is_record(first[0]) or all(map(_is_record, first[1:]))


def parse(text: str) -> Any:
    """The value of a text. Raises ValueError, also for nesting too deep and numbers too long."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_record(line: str) -> bool:
    try:
        return isinstance(parse(line), (dict, list))
    except ValueError:
        return False


def _of_lines(file: IO[str]) -> Iterator[JsonRecord | BrokenRecord]:
    number = 0
    for n_line, line in enumerate(file, start=1):
        if not line.strip():
            continue
        number += 1
        try:
            yield JsonRecord(number, f"line {n_line}", parse(line.rstrip()))
        except ValueError as error:
            column = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            why = f"line {n_line}: not JSON: {_reason(error)}{column}: {line.strip()!r:.80}"
            yield BrokenRecord(number, why)


def _of_value(path: Path, file: IO[str]) -> Iterator[JsonRecord]:
    try:
        value = parse(file.read())
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    yield JsonRecord(1, "record 1", value)


def _of_list(path: Path, file: IO[str]) -> Iterator[JsonRecord]:
    """The items of a list, each parsed when it is wanted, so that the list is never in memory as a whole."""
    held = _Held(file)
    held.next_sign()
    held.take()  # the bracket that opens the list
    number = 0
    more = held.next_sign() != "]"
    while more:
        number += 1
        try:
            yield JsonRecord(number, f"record {number}", held.value())
        except ValueError as error:
            raise InputError(
                f"{path}: record {number} is not JSON: {_reason(error)} {held.where()}"
            ) from None
        sign = held.next_sign()
        more = sign == ","
        if more:
            held.take()
        elif sign != "]":
            raise InputError(f"{path}: not JSON: no comma or ] follows record {number} {held.where()}")
    held.take()
    if held.next_sign():
        raise InputError(f"{path}: not JSON: something follows the list {held.where()}")


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


class _Held:
    """The part of a file that is in memory, from where it was read up to."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._n_lines = 1

    def next_sign(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_BLOCK):
                return ""

    def take(self) -> None:
        self._at += 1

    def value(self) -> Any:
        """The value that begins here. Raises ValueError."""
        self.next_sign()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise ValueError("nested too deeply") from None
            except ValueError:
                # Broken, or not all of it is here. To read as much again keeps this linear.
                if not self._more(max(_BLOCK, len(self._text) - self._at)):
                    raise
                continue
            # A number may go on in what was not read yet.
            if end == len(self._text) and self._more(_BLOCK):
                continue
            self._at = end
            return value

    def where(self) -> str:
        return f"(line {self._n_lines + self._text.count(chr(10), 0, self._at)})"

    def _more(self, size: int) -> bool:
        piece = self._file.read(size)
        self._n_lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)
