"""Plain text: one file is one document.

Nothing is changed: blanks, line ends (CR LF counts two) and the last line end stay. Only a byte order mark is
no part of the text. A text that is too long to be held at once comes in parts, which are cut at blank lines,
so that no sentence is cut; offsets count from the first character of the file (`Document.start`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..data import Document
from ..errors import InputError
from ..files import decoded_pieces, shown
from .protocol import Reading

LONGEST_PART = 1_000_000
"""Characters of a text that are held at once."""

_PLACES_TO_CUT = (
    re.compile(r"(?:\r\n|\n|\r(?!\n))[^\S\r\n]*(?:\r\n|\n|\r(?!\n))+"),  # a blank line
    re.compile(r"\r\n|\n|\r(?!\n)"),
    re.compile(r"\s(?=\S)"),  # \s+ would be quadratic in blanks that reach the end
)
"""What a text is cut after, the best first."""


def read_text_file(path: Path, reading: Reading) -> Iterator[Document]:
    """The document, or its parts in order, all with the name of the file as their id.

    Raises InputError for a file that is empty, or not text.
    """
    id = document_id(path)
    start, held = 0, ""
    for piece in decoded_pieces(path):
        held += piece
        if not start and held.count("\0") * 3 > len(held):
            raise InputError(f"{path}: not UTF-8 text; if it is UTF-16, save it with a byte order mark")
        while len(held) > LONGEST_PART:
            cut = _place_to_cut(held, LONGEST_PART)
            yield Document.of_text(id, held[:cut], start=start)
            start, held = start + cut, held[cut:]
    if held:
        yield Document.of_text(id, held, start=start)
    elif not start:
        raise InputError(f"{path}: the file is empty")


def document_id(path: Path) -> str:
    """The name of a file without its suffix. Example: "texts/leaflet.txt" -> "leaflet"."""
    return shown(path.stem)


def _place_to_cut(text: str, longest: int) -> int:
    """Where to cut a text: as late as possible in the second half of its first `longest` characters."""
    for pattern in _PLACES_TO_CUT:
        ends = [match.end() for match in pattern.finditer(text, longest // 2, longest)]
        if ends:
            return ends[-1]
    return longest
