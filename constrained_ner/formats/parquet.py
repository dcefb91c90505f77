"""Parquet: the records of JSON lines (see `jsonl`) as rows. Through pyarrow.

Columns that are read: as in JSON lines, so `text` and `id`, or those that --text-field and --id-field name.
Columns that are written: id, document (null for running text), start (of a part of a long text, else 0),
text, mentions (a list, with null for what a mention does not have).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..data import Document
from ..errors import InputError, MissingExtraError
from ..files import reason
from .json_records import JsonRecord
from .jsonl import records_of_document, records_of_values
from .protocol import Losses, Reading
from .records import documents_of

_ROWS_READ, _ROWS_WRITTEN = 256, 4096
"""Rows in memory at a time."""


def read_parquet(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, each row being a record. Raises InputError."""
    yield from documents_of(path, reading, lambda: records_of_values(_rows(path), reading))


def write_parquet(documents: Iterable[Document], losses: Losses) -> Iterator[bytes]:
    """The content of a file, a row group at a time. Nothing is lost that JSON lines keep."""
    pyarrow, parquet = _pyarrow()
    schema = _schema(pyarrow)
    rows = chain.from_iterable(map(records_of_document, documents))
    sink = _Pieces()
    with parquet.ParquetWriter(sink, schema) as writer:
        while group := [_row(record) for record in islice(rows, _ROWS_WRITTEN)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
            yield sink.take()
    yield sink.take()


def _row(record: dict[str, Any]) -> dict[str, Any]:
    return {"start": 0, **record}


def _rows(path: Path) -> Iterator[JsonRecord]:
    pyarrow, parquet = _pyarrow()
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_READ):
                for row in batch.to_pylist():
                    number += 1
                    yield JsonRecord(number, f"row {number}", _without_nulls(row))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except pyarrow.ArrowException as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a Parquet file that can be read: {first_line:.200}") from None


def _without_nulls(value: Any) -> Any:
    """Plain data without the fields that are null: rows have all columns, records only their own."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _schema(pyarrow: Any) -> Any:
    number, text = pyarrow.int64(), pyarrow.string()
    mention = {
        "start": number,
        "end": number,
        "text": text,
        "type": text,
        "spans": pyarrow.list_(pyarrow.list_(number)),
        "confidence": pyarrow.float64(),
        "provenance": text,
        "score": pyarrow.float64(),
    }
    columns = {
        "id": text,
        "document": text,
        "start": number,
        "text": text,
        "mentions": pyarrow.list_(pyarrow.struct(list(mention.items()))),
    }
    return pyarrow.schema(list(columns.items()))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "parquet") from None
    return pyarrow, pyarrow.parquet


class _Pieces(io.RawIOBase):
    """A file that is only written, and hands over what was written since the last time."""

    def __init__(self) -> None:
        self._new = bytearray()
        self._n_taken = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._new += piece
        return len(piece)

    def tell(self) -> int:
        return self._n_taken + len(self._new)

    def take(self) -> bytes:
        piece = bytes(self._new)
        self._n_taken += len(piece)
        self._new.clear()
        return piece
