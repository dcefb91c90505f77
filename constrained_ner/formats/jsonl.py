"""JSON: the lines that are written here, and the records of other tools (see `json_shapes`).

One line a text:

    {"id": "leaflet", "text": "Take aspirin.", "mentions": [{"start": 5, "end": 12, "text": "aspirin",
     "type": "drug", "confidence": 0.98, "provenance": "constrained"}]}

Offsets are half-open code points of the document. A document that has no text of its own, as in the DDI
corpus, is a line for each sentence, with the id of the "document". A part of a long text has its "start";
offsets still count from the beginning of the document. A discontinuous mention also has "spans", a fuzzy one
its "score".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..data import Document
from .json_items import half_character
from .json_records import BrokenRecord, json_records
from .json_shapes import shape_of
from .json_shapes.protocol import ShapeError, keys_of
from .protocol import Losses, Reading
from .records import Record, documents_of

# ---- writing


def write_jsonl(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The lines of a file. Nothing is lost but where sentences end in a text, and decisions (`margins`)."""
    for document in documents:
        for record in records_of(document):
            yield json.dumps(record, ensure_ascii=False) + "\n"


def records_of(document: Document) -> Iterator[dict[str, Any]]:
    """What the lines of a document hold."""
    if document.text is None:
        for sentence in document:
            mentions = [m.to_dict() for m in sentence.with_mentions(sentence.mentions).mentions]
            yield {"id": sentence.id, "document": document.id, "text": sentence.text, "mentions": mentions}
        return
    start = {"start": document.start} if document.start else {}
    mentions = [mention.to_dict() for _, mention in document.located()]
    yield {"id": document.id, **start, "text": document.text, "mentions": mentions}


# ---- reading


def recognises_json(path: Path, head: str) -> bool:
    """Whether a file begins like a record, or a list of them. `{` in a text is followed by other things."""
    return re.match(r"\s*(\{\s*[\"}]|\[\s*[\[{\]])", head) is not None


def read_json(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, each record being one (see `records`). Raises InputError."""
    yield from documents_of(path, reading, lambda: _records(path, reading))


def _records(path: Path, reading: Reading) -> Iterator[Record]:
    for record in json_records(path):
        if isinstance(record, BrokenRecord):
            yield Record(record.number, "", why=record.why)
            continue
        number, place, value = record
        try:
            if wrong := half_character(value):
                raise ShapeError(wrong)
            value = _with_fields(value, reading)
            shape = shape_of(value)
            note = f"read as {shape.name}" if shape.told else ""
            yield Record(number, place, shape.read(value), shape.rule, note)
        except ShapeError as error:
            yield Record(number, place, why=f"{place}: {error}")


def _with_fields(record: Any, reading: Reading) -> Any:
    """The record with what the named fields hold as its "text" and "id"."""
    if not isinstance(record, dict) or not (reading.text_field or reading.id_field):
        return record
    inner = record["data"] if isinstance(record.get("data"), dict) else record
    named = {"text": reading.text_field, "id": reading.id_field}
    for field in named.values():
        if field is not None and field not in inner:
            raise ShapeError(f"no field {field!r} (its keys: {keys_of(inner)})")
    fields = {key: inner[field] for key, field in named.items() if field is not None}
    return {**record, "data": {**inner, **fields}} if inner is not record else {**record, **fields}
