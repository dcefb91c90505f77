"""JSON: the lines that are written here, and the records of other tools (see `json_shapes`).

One line a text:

    {"id": "leaflet", "text": "Take aspirin.", "mentions": [{"start": 5, "end": 12, "text": "aspirin",
     "type": "drug", "confidence": 0.98, "provenance": "constrained"}]}

Offsets are half-open code points of the document. A document that has no text of its own, as in the DDI corpus,
is a line for each sentence, with the id of the "document"; a part of a long text has its "start", from which
its offsets count. A discontinuous mention also has "spans", a fuzzy one its "score".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from ..data import Document, Mention
from .damage import Damage
from .fitting import Fitting
from .json_records import BrokenRecord, json_records
from .json_shapes import shape_of
from .json_shapes.protocol import Shape, ShapeError, keys_of
from .passages import DocumentIds
from .protocol import Losses, Reading
from .raw_mentions import Notes, RawText
from .text import document_id
from .units import Claim, Convention, Counting, countings, detect

# ---- writing


def write_jsonl(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The lines of a file. Nothing is lost but where sentences end in a text, and decisions (`margins`)."""
    for document in documents:
        for record in _records_of(document):
            yield json.dumps(record, ensure_ascii=False) + "\n"


def _records_of(document: Document) -> Iterator[dict[str, Any]]:
    if document.text is None:
        for sentence in document:
            mentions = [_mention_record(m) for m in sentence.with_mentions(sentence.mentions).mentions]
            yield {"id": sentence.id, "document": document.id, "text": sentence.text, "mentions": mentions}
        return
    start = {"start": document.start} if document.start else {}
    mentions = [_mention_record(mention) for _, mention in document.located()]
    yield {"id": document.id, **start, "text": document.text, "mentions": mentions}


def _mention_record(mention: Mention) -> dict[str, Any]:
    record: dict[str, Any] = {
        "start": mention.start,
        "end": mention.end,
        "text": mention.text,
        "type": mention.type,
    }
    if mention.discontinuous:
        record["spans"] = [[span.start, span.end] for span in mention.spans]
    if mention.confidence is not None:
        record["confidence"] = round(mention.confidence, 6)
    record["provenance"] = mention.provenance
    if mention.score is not None:
        record["score"] = round(mention.score, 6)
    return record


# ---- reading


class _Read(NamedTuple):
    """A record that was read, or why it was not."""

    number: int
    place: str
    shape: Shape | None = None
    texts: Sequence[RawText | Document] = ()
    why: str = ""


def read_json(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, each record being one.

    Their ids are the records' own, else the file's name and the record's number: "texts.1". A record that
    cannot be read is reported with its line. Raises InputError if none can be.
    """
    found = _documents(path, reading, _counting(path, reading))
    for group, documents in groupby(found, key=itemgetter(0)):
        if group is None:
            yield from (document for _, document in documents)
        else:
            sentences = (sentence for _, document in documents for sentence in document)
            yield Document(group, tuple(sentences))


def recognises_json(path: Path, head: str) -> bool:
    """Whether a file with a suffix of JSON may be of this reader: whether it begins as JSON does."""
    return head.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")


def _documents(
    path: Path, reading: Reading, counting: Convention[Claim]
) -> Iterator[tuple[str | None, Document]]:
    """The documents, each with the id of the document that it is a sentence of, if it is one."""
    fitting, notes, damage, ids = Fitting(path), Notes(path), Damage(path, reading), DocumentIds(path)
    for read in _read_records(path, reading):
        if read.shape is None:
            damage.add(read.why)
            continue
        damage.read()
        notes.add([f"read as {read.shape.name}"] if read.shape.told else [], read.place)
        for n, item in enumerate(read.texts):
            number = f"{document_id(path)}.{read.number}" + (f".{n + 1}" if len(read.texts) > 1 else "")
            if isinstance(item, Document):
                yield None, item if item.id else _named(item, number)
                continue
            mentions, n_repeated = item.placed(counting, fitting, read.place)
            notes.add(item.notes, read.place)
            notes.add(["a mention that repeats another is left out"] * n_repeated, read.place)
            id = item.id or number
            if item.document is None and not item.start:
                id = ids.unique(id)
            yield item.document, Document.of_text(id, item.text, mentions, start=item.start)
    damage.finish()
    for told in (notes, fitting, ids):
        told.tell(reading.notify)


def _named(document: Document, id: str) -> Document:
    sentences = (replace(sentence, id=f"{id}{sentence.id}") for sentence in document)
    return replace(document, id=id, sentences=tuple(sentences))


def _counting(path: Path, reading: Reading) -> Convention[Claim]:
    """What the offsets of the file count."""

    def claimed() -> Iterator[tuple[Shape, Claim]]:
        for read in _read_records(path, reading):
            for text in read.texts:
                if read.shape is not None and isinstance(text, RawText):
                    yield from ((read.shape, claim) for claim in text.claims())

    first = next(claimed(), None)
    if first is None:
        return Counting()
    known = countings(first[0].rule)
    return detect(path, known, lambda: (claim for _, claim in claimed()), reading.notify)


def _read_records(path: Path, reading: Reading) -> Iterator[_Read]:
    for record in json_records(path):
        if isinstance(record, BrokenRecord):
            yield _Read(record.number, "", why=record.why)
            continue
        number, place, value = record
        try:
            value = _with_fields(value, reading)
            shape = shape_of(value)
            yield _Read(number, place, shape, shape.read(value))
        except ShapeError as error:
            yield _Read(number, place, why=f"{place}: {error}")


def _with_fields(record: Any, reading: Reading) -> Any:
    """The record with what the named fields hold as its "text" and "id"."""
    if not isinstance(record, dict) or not (reading.text_field or reading.id_field):
        return record
    inner = record["data"] if isinstance(record.get("data"), dict) else record
    named = {"text": reading.text_field, "id": reading.id_field}
    for key, field in named.items():
        if field is not None and field not in inner:
            raise ShapeError(f"no field {field!r} (its keys: {keys_of(inner)})")
    fields = {key: inner[field] for key, field in named.items() if field is not None}
    return {**record, "data": {**inner, **fields}} if inner is not record else {**record, **fields}
