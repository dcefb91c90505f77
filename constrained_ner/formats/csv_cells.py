"""CSV as spreadsheets read it, safe to open: no cell becomes a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file, quoted where needed, one line a row. None is an empty cell.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    return "".join(map(csv_row, (header, *rows)))


def csv_row(cells: Sequence[object]) -> str:
    """A line of a CSV file, with its end."""
    return ",".join(map(_csv_cell, cells)) + "\n"


def without_apostrophe(cell: str) -> str:
    """The text that a cell was written for. Example: "'=1+1" -> "=1+1"."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def _csv_cell(value: object) -> str:
    """Example: "=1+1" -> "'=1+1"; "-1.5" and -1.5 stay as they are."""
    text = "" if value is None else str(value)
    if isinstance(value, str) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    # Python's own writer does not quote a lone carriage return, which others take for the end of a row.
    if re.search(r'[",\r\n]', text):
        text = '"' + text.replace('"', '""') + '"'
    return text
