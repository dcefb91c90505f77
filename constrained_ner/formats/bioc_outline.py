"""Documents as BioC has them, for both of its forms: passages with their annotations, as JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any

from ..data import Document, Mention, Sentence
from .passages import with_texts
from .protocol import Losses

Outline = dict[str, Any]
"""A passage, sentence or annotation, with the keys of BioC in JSON."""


def outlines(documents: Iterable[Document], losses: Losses) -> Iterator[tuple[str, Iterator[Outline]]]:
    """The id of each document and its passages, which have to be read before the next document."""
    numbered = _Numbered()
    for (_, document_id), parts in groupby(documents, key=numbered.key):
        yield document_id, _passages(parts, losses)


@dataclass(slots=True)
class _Numbered:
    """Numbers documents; the parts of one have one number."""

    id: str | None = None
    n: int = 0

    def key(self, document: Document) -> tuple[int, str]:
        self.n += not (document.continues and document.id == self.id)
        self.id = document.id
        return self.n, document.id


def _passages(parts: Iterable[Document], losses: Losses) -> Iterator[Outline]:
    ids = count(1)
    for document in with_texts(parts):
        _count_lost_text(document, losses)
        blocks = [_block(document, sentence, ids) for sentence in document if sentence.text]
        losses.add("empty sentences left out", len(document.sentences) - len(blocks))
        if document.in_sentences and blocks:
            yield {"offset": blocks[0]["offset"], "infons": {}, "sentences": blocks, "annotations": []}
        else:
            yield from blocks


def _block(document: Document, sentence: Sentence, ids: Iterator[int]) -> Outline:
    start = document.start + sentence.start
    return {
        "offset": start,
        "infons": {},
        "text": sentence.text,
        "sentences": [],
        "annotations": [_annotation(mention.moved(start), str(next(ids))) for mention in sentence.mentions],
    }


def _annotation(mention: Mention, id: str) -> Outline:
    infons: Outline = {"type": mention.type}
    if mention.confidence is not None:
        infons["confidence"] = round(mention.confidence, 6)
    locations = [{"offset": span.start, "length": span.end - span.start} for span in mention.spans]
    return {"id": id, "infons": infons, "text": mention.text, "locations": locations}


def _count_lost_text(document: Document, losses: Losses) -> None:
    """Count the characters between passages that a reader cannot know."""
    text, at, lost = document.text or "", 0, 0
    for sentence in document:
        lost += len(text[at : sentence.start].replace(" ", ""))
        at = max(at, sentence.start + len(sentence.text))
    lost += len(text[at:].replace(" ", ""))
    losses.add("line breaks and other characters between passages left out", lost)
