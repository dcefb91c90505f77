"""The records of a JSON file, one at a time: a JSON value a line, or one list of values, or a single value.

What the file holds decides, not its suffix: JSON lines are often called .json, and lists .jsonl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..files import decoded_lines, decoded_pieces
from .json_items import json_items

_HEAD = 1 << 18
"""So many characters tell lines from a list."""


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
    """The records of a file. Raises InputError if it is empty, or is a list or one value and not JSON."""
    first = [line for line in _head(decoded_pieces(path)).split("\n") if line.strip()][:4]
    if not first:
        raise InputError(f"{path}: the file is empty")
    if _in_lines(path, first):
        yield from _of_lines(path)
        return
    for number, (_, value) in enumerate(json_items(path), start=1):
        yield JsonRecord(number, f"record {number}", value)


def _head(pieces: Iterable[str]) -> str:
    """The beginning of a text, from its first line that is not blank."""
    head = ""
    for piece in pieces:
        head = head.lstrip() + piece
        if len(head) >= _HEAD:
            break
    return head


def _in_lines(path: Path, first: list[str]) -> bool:
    """Whether each line is a record. first: the first lines."""
    if first[0].strip() in ("[", "{", "[[", "[{"):  # goes on in the next line, as in indented JSON
        return False
    named_so = path.suffix.lower() in (".jsonl", ".ndjson", ".jsonlines")
    if len(first) == 1:
        return named_so and not re.match(r"\s*\[\s*[\[{\]]", first[0])  # a list of records may be one line
    return named_so or _is_record(first[0]) or all(map(_is_record, first[1:]))


def _is_record(line: str) -> bool:
    try:
        return isinstance(_parsed(line), (dict, list))
    except ValueError:
        return False


def _of_lines(path: Path) -> Iterator[JsonRecord | BrokenRecord]:
    number = 0
    for n_line, line in enumerate(decoded_lines(path), start=1):
        if not line.strip():
            continue
        number += 1
        try:
            yield JsonRecord(number, f"line {n_line}", _parsed(line.rstrip()))
        except ValueError as error:
            why = f"line {n_line}: not JSON: {_reason(error)}: {line.strip()!r:.80}"
            yield BrokenRecord(number, why)


def _parsed(text: str) -> Any:
    """The value of a text. Raises ValueError, also for nesting too deep and numbers too long."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return str(error)
