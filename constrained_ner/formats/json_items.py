"""JSON read one item at a time, from a list, from a list inside an object, or one value a line.

    [{...}, {...}]      {"source": "x", "documents": [{...}, {...}]}      {...}\\n{...}\\n

Only the item that is being read is held in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import decoded_pieces

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


def json_items(path: Path, lists: Collection[str] = ()) -> Iterator[tuple[int, Any]]:
    """The items of a JSON file, each with the number of the line on which it begins.

    lists: names of the lists of items that the outermost object may hold. An object without them is the item.
    Raises InputError naming file and line for what is not JSON.
    """
    return _Source(path, decoded_pieces(path)).items(lists)


@dataclass(slots=True)
class _Source:
    """A text that comes in pieces, and the place up to which it was read."""

    path: Path
    pieces: Iterator[str]
    text: str = ""
    at: int = 0
    line: int = 1

    def items(self, lists: Collection[str]) -> Iterator[tuple[int, Any]]:
        while self.peek():
            if self.peek() == "[":
                yield from self.list_items()
            elif self.peek() == "{":
                yield from self.object_or_its_lists(lists)
            else:
                raise self.error("an object or a list was expected")

    def list_items(self) -> Iterator[tuple[int, Any]]:
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() == ",":
                self.take(",")
                if self.peek() == "]":
                    raise self.error("a value was expected")
            elif self.peek() != "]":
                raise self.error("',' or ']' was expected")
        self.take("]")

    def object_or_its_lists(self, lists: Collection[str]) -> Iterator[tuple[int, Any]]:
        line = self.peek() and self.line
        self.take("{")
        rest: dict[str, Any] = {}
        found = False
        while self.peek() != "}":
            _, key = self.value()
            if not isinstance(key, str):
                raise self.error("a name was expected")
            self.take(":")
            if key in lists and self.peek() == "[":
                found = True
                yield from self.list_items()
            else:
                rest[key] = self.value()[1]
            if self.peek() == ",":
                self.take(",")
            elif self.peek() != "}":
                raise self.error("',' or '}' was expected")
        self.take("}")
        if not found:
            yield int(line), rest

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            blank = _BLANK.match(self.text, self.at)
            self.move(blank.end() if blank else self.at)
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"{character!r} was expected")
        self.move(self.at + 1)

    def value(self) -> tuple[int, Any]:
        """The next value, with the line on which it begins."""
        self.peek()
        line = self.line
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as problem:
                # What goes on in the next piece is an error at the end of this one, or in a string.
                cut_off = problem.msg.startswith("Unterminated") or problem.pos > len(self.text) - 20
                if cut_off and self.more(doubled=True):
                    continue
                self.move(min(problem.pos, len(self.text)))
                raise self.error(problem.msg) from None
            except RecursionError:
                raise self.error("too deeply nested") from None
            except ValueError:
                raise self.error("a number has too many digits") from None
            if end > len(self.text) - 3 and self.more():
                continue  # a number may go on, even behind "e+"
            self.move(end)
            return line, value

    def move(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def more(self, *, doubled: bool = False) -> bool:
        """Read on; False at the end. doubled: as much again as is there, to try long values rarely."""
        wanted = len(self.text) - self.at if doubled else 1
        new: list[str] = []
        while wanted > 0 and (piece := next(self.pieces, "")):
            new.append(piece)
            wanted -= len(piece)
        if new:
            self.text = self.text[self.at :] + "".join(new)
            self.at = 0
        return bool(new)

    def error(self, what: str) -> InputError:
        found = self.text[self.at : self.at + 30]
        there = f"found {found!r}" if found else "the file ends"
        return InputError(f"{self.path}: line {self.line}: not JSON: {what} ({there})")
