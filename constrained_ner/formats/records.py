"""Documents out of the records of a file: JSON values, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..data import Document
from .damage import Damage
from .fitting import Fitting
from .passages import DocumentIds
from .protocol import Reading
from .raw_mentions import Notes, RawText
from .text import document_id
from .units import Claim, Convention, Counting, countings, detect
from .word_edges import counting_by_words

IN_CODE_POINTS = Counting()


class Record(NamedTuple):
    """A record that was read, or why it was not.

    number: counts from 1. place: where it is in its file, such as "line 3".
    texts: what it holds; documents are finished. rule: what its offsets count, if the file's words do not say
    otherwise. note: what to tell of how it was read. why: place and reason, if it cannot be read.
    """

    number: int
    place: str
    texts: Sequence[RawText | Document] = ()
    rule: Counting = IN_CODE_POINTS
    note: str = ""
    why: str = ""


def documents_of(path: Path, reading: Reading, records: Callable[[], Iterator[Record]]) -> Iterator[Document]:
    """The documents of a file.

    Their ids are the records' own, else the file's name and the record's number: "texts.1". A record that
    cannot be read is reported. records: all of them, anew at each call, for offsets can only be understood
    when all were seen. Raises InputError if no record can be read.
    """
    found = _found(path, reading, records, _counting(path, reading, records))
    for group, documents in groupby(found, key=itemgetter(0)):
        if group is None:
            yield from (document for _, document in documents)
        else:
            yield Document(group, tuple(sentence for _, document in documents for sentence in document))


def _found(
    path: Path, reading: Reading, records: Callable[[], Iterator[Record]], counting: Convention[Claim]
) -> Iterator[tuple[str | None, Document]]:
    """The documents, each with the id of the document that it is a sentence of, if it is one."""
    fitting, notes, damage, ids = Fitting(path), Notes(path), Damage(path, reading), DocumentIds(path)
    for record in records():
        if record.why:
            damage.add(record.why)
            continue
        damage.read()
        notes.add([record.note] if record.note else [], record.place)
        for n, item in enumerate(record.texts, start=1):
            number = f"{document_id(path)}.{record.number}" + (f".{n}" if len(record.texts) > 1 else "")
            if isinstance(item, Document):
                yield None, item if item.id else _named(item, number)
                continue
            mentions, n_repeated = item.placed(counting, fitting, record.place)
            notes.add(item.notes, record.place)
            notes.add(["a mention that repeats another is left out"] * n_repeated, record.place)
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


def _counting(path: Path, reading: Reading, records: Callable[[], Iterator[Record]]) -> Convention[Claim]:
    """What the offsets of the file count."""

    def claimed() -> Iterator[tuple[Counting, Claim]]:
        for record in records():
            for text in record.texts:
                if isinstance(text, RawText):
                    yield from ((record.rule, claim) for claim in text.claims())

    first = next(claimed(), None)
    if first is None:
        return Counting()

    def claims() -> Iterator[Claim]:
        return (claim for _, claim in claimed())

    if any(claim.name is not None for claim in claims()):
        return detect(path, countings(first[0]), claims, reading.notify)
    return counting_by_words(path, first[0], claims, reading.notify)
