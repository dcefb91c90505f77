"""Tables of texts (CSV, TSV and other separators), and tables of mentions as spreadsheets open them.

Separator and encoding are found out. A cell may have quoted line ends. The CSV export of Label Studio has its
mentions in a cell, as JSON; other tables are read as texts without mentions.

What is written is a row for each mention:

    id,start,end,text,type,confidence
    leaflet,5,12,aspirin,drug,0.98
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import Document, Mention, Span
from ..errors import InputError
from ..files import decoded_lines, decoded_pieces
from .csv_cells import csv_row, without_apostrophe
from .flat_mentions import outer
from .json_shapes.label_studio import is_row, read_row, row_of_table
from .json_shapes.protocol import ShapeError, checked
from .protocol import Losses, Reading
from .raw_mentions import RawText
from .records import Record, documents_of

_SEPARATORS = "\t,;$|"
_HEAD = 1 << 16
_LONGEST_CELL = 1 << 26
"""A quotation mark that nothing closes would make a cell of the rest of the file."""

_TEXT_COLUMNS = (
    *("text", "sentence", "sentence_text", "abstract", "body", "content", "document_text"),
    *("note", "narrative", "report", "message", "review", "description"),
)
_ID_COLUMNS = ("id", "doc_id", "document_id", "sentence_id", "text_id", "note_id", "record_id", "pmid")
MENTION_COLUMNS = ("id", "start", "end", "text", "type", "confidence")


# ---- reading


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a table is written. quoted: whether quotation marks around a cell are no part of it."""

    separator: str
    quoted: bool

    def rows(self, lines: Iterable[str]) -> csv._reader:  # type: ignore[name-defined]
        csv.field_size_limit(_LONGEST_CELL)
        if self.quoted:
            return csv.reader(lines, delimiter=self.separator, strict=True)
        return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE, strict=True)


def read_table(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a table, each row being one.

    The text is in the column that `reading` names, else in one with a usual name. Raises InputError naming
    the columns if there is none.
    """
    head = _head(path)
    if not head.strip():
        raise InputError(f"{path}: the file is empty")
    layout, header = _layout(head, reading)
    if tuple(header) == MENTION_COLUMNS and reading.text_field is None:
        raise InputError(f"{path}: a table of mentions, without their texts: only evaluate can read it")
    text_column = _column(path, header, reading.text_field, _TEXT_COLUMNS, "--text-field")
    id_column = _column(path, header, reading.id_field, _ID_COLUMNS, "--id-field")
    if text_column is None:
        raise InputError(
            f"{path}: no column 'text' (its columns: {_shown(header)}); name the column with --text-field"
        )
    if not reading.text_field and header[text_column].strip().lower() != "text":
        reading.notify(
            f"{path}: the texts are read from column {header[text_column]!r:.60} (--text-field names another)"
        )
    columns = (text_column, id_column)
    yield from documents_of(path, reading, lambda: _records(path, layout, header, columns))


def _head(path: Path) -> str:
    head = ""
    for piece in decoded_pieces(path):
        head += piece
        if len(head) >= _HEAD:
            break
    return head


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, each with its end: LF, CR LF, or CR alone, as in tables of old spreadsheets."""
    for line in decoded_lines(path):
        yield from io.StringIO(line, newline="")


def _records(
    path: Path, layout: _Layout, header: list[str], columns: tuple[int, int | None]
) -> Iterator[Record]:
    rows = layout.rows(_lines(path))
    next(rows)
    number = 0
    while True:
        place = f"line {rows.line_num + 1}"
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Record(number, place, why=f"{place}: not a row of a table: {error}")
            continue
        if any(cells):
            number += 1
            yield _record(number, place, header, cells, columns)


def _record(
    number: int, place: str, header: list[str], cells: list[str], columns: tuple[int, int | None]
) -> Record:
    text_column, id_column = columns
    if len(cells) != len(header):
        why = f"{place}: {len(cells)} cells instead of {len(header)}: {' '.join(cells)!r:.60}"
        return Record(number, place, why=why)
    row = row_of_table(dict(zip(header, cells, strict=True)))
    try:
        id = None if id_column is None else cells[id_column].strip() or None
        text = checked(cells[text_column], header[text_column])
        if is_row(row):
            row["text"] = text
            texts = [_with_id(read_row(row)[0], id)]
            return Record(number, place, texts, note="read as rows of Label Studio")
        return Record(number, place, [RawText(text, id=id)])
    except ShapeError as error:
        return Record(number, place, why=f"{place}: {error}")


def _with_id(text: RawText, id: str | None) -> RawText:
    return RawText(text.text, text.mentions, id)


def _layout(head: str, reading: Reading) -> tuple[_Layout, list[str]]:
    """How a table is written, and its header. head: its first lines, the last of which may be cut off.

    The separator is the one that gives most rows as many cells as the header, of two or more; a table of one
    column has none.
    """
    wanted = reading.text_field
    best: tuple[tuple[bool, bool, float, int], _Layout, list[str]] | None = None
    for separator, quoted in itertools.product(_SEPARATORS, (True, False)):
        layout = _Layout(separator, quoted)
        rows = _first_rows(layout, head)
        if not rows or len(rows[0]) < 2:
            continue
        header = [name.strip() for name in rows[0]]
        share = sum(len(row) == len(header) for row in rows) / len(rows)
        known = wanted in header if wanted else any(name.lower() in _TEXT_COLUMNS for name in header)
        score = (known, share > 0.8, share * (2 if quoted else 1), len(header))
        if best is None or score > best[0]:
            best = score, layout, rows[0]
    if best is None or not (best[0][0] or best[0][1]):
        layout = _Layout("\t", quoted=True)
        rows = _first_rows(layout, head) or [[head.strip().partition("\n")[0].rstrip("\r")]]
        return layout, rows[0]
    return best[1], best[2]


def _first_rows(layout: _Layout, head: str) -> list[list[str]]:
    """The rows of a head; none if its quotation marks are not those of a table."""
    rows = []
    reader = layout.rows(itertools.islice(io.StringIO(head, newline=""), 2000))
    try:
        for row in reader:
            if any(row):
                rows.append(row)
    except csv.Error as error:
        # The last row may be cut off inside a quoted cell.
        if len(head) < _HEAD or "unexpected end" not in str(error):
            return []
    return rows[:-1] if len(rows) > 1 and len(head) >= _HEAD else rows


def _column(
    path: Path, header: Sequence[str], named: str | None, usual: Sequence[str], option: str
) -> int | None:
    """The number of a column; None if no name is given and none is usual."""
    names = [name.strip() for name in header]
    if named is not None:
        exact = [n for n, name in enumerate(header) if name == named] or [
            n for n, name in enumerate(names) if name == named.strip()
        ]
        if not exact:
            raise InputError(f"{path}: no column {named!r:.60} for {option} (its columns: {_shown(header)})")
        return exact[0]
    small = [name.lower().replace(" ", "_") for name in names]
    return next((small.index(name) for name in usual if name in small), None)


def _shown(header: Sequence[str]) -> str:
    return ", ".join(f"{name!r:.40}" for name in header[:20]) + (", ..." if len(header) > 20 else "")


# ---- writing


def write_mention_table(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A header, and a row for each mention. Texts have no room in it."""
    yield csv_row(MENTION_COLUMNS)
    for document in documents:
        for id, mention in document.located():
            [whole] = outer([mention], losses)
            yield csv_row([id, whole.start, whole.end, whole.text, whole.type, whole.confidence])


def read_mention_table(path: Path) -> list[tuple[str, Mention]]:
    """The mentions of a table as it is written here. Raises InputError naming the line that does not fit."""
    rows = _Layout(",", quoted=True).rows(_lines(path))
    try:
        header: list[str] = next(rows, [])
        if tuple(header) != MENTION_COLUMNS:
            wanted = ", ".join(MENTION_COLUMNS)
            raise InputError(f"{path}: the columns are not {wanted}: {_shown(header)}")
        return [_mention(f"{path}: line {rows.line_num}", row) for row in rows]
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: not a row of a table: {error}") from None


def _mention(place: str, row: Sequence[str]) -> tuple[str, Mention]:
    try:
        id, start, end, text, type, confidence = map(without_apostrophe, row)
        span = Span(int(start), int(end))
        probability = float(confidence) if confidence else None
        if probability is not None and not 0 <= probability <= 1:
            raise ValueError(f"confidence {confidence} is not from 0 to 1")
        return id, Mention((span,), type, text, probability)
    except ValueError as error:
        raise InputError(f"{place}: not a mention: {error!s:.80}: {','.join(row)!r:.80}") from None
