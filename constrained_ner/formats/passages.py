"""Documents made of passages (a title, an abstract, paragraphs), and documents as writers want them.

Readers know where each passage lies in the text of its document, and give mentions with offsets in that text.
Writers of formats with one text for a document take one, whatever the document came from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..data import Document, Mention, Sentence
from .numbered_names import NumberedNames
from .text import document_id

OUTER = "discontinuous mentions written from their first to their last character"
NO_CONFIDENCE = "confidences left out"
NO_SENTENCES = "sentences and passages whose borders are left out"
AS_SPELT = "names written as the text spells them"
"""What writers say of losses that several formats have."""


class Passage(NamedTuple):
    """A part of a text, and where it begins in it."""

    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def document_of(
    id: str,
    text: str,
    passages: Sequence[Passage],
    mentions: Iterable[Mention],
    *,
    in_sentences: bool = False,
    n_before: int = 0,
) -> Document:
    """A document in these passages, sorted and not empty. mentions: with offsets in the text. n_before:
    passages in earlier parts of the document.

    It is one passage if a mention lies across two: then all mentions keep their places.
    """
    starts = [passage.start for passage in passages]
    held: list[list[Mention]] = [[] for _ in passages]
    mentions = list(mentions)
    for mention in mentions:
        holder = bisect_right(starts, mention.start) - 1
        if holder < 0 or mention.end > passages[holder].end:
            return Document.of_text(id, text, mentions)
        held[holder].append(mention.moved(-starts[holder]))
    if list(passages) == [Passage(0, text)] and not in_sentences:
        return Document.of_text(id, text, mentions)
    kind = "s" if in_sentences else "p"
    sentences = (
        Sentence(f"{id}.{kind}{n}", passage.text, start=passage.start).with_mentions(inside)
        for n, (passage, inside) in enumerate(zip(passages, held, strict=True), start=n_before)
    )
    return Document(id, tuple(sentences), text, in_sentences=in_sentences)


def kept_mark(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text file. One that begins with U+FEFF gets another: readers take one as the file's."""
    pieces = iter(pieces)
    first = next(filter(None, pieces), "")
    yield "\ufeff" * first.startswith("\ufeff") + first
    yield from pieces


def with_texts(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents, each with a text of its own: if it has none, its sentences, each on a line.

    A later part without a text begins with the line break after the part before it.
    """
    end = 0
    for document in documents:
        if document.text is None:
            document = _with_lines(document, end if document.continues else 0)
        end = document.start + len(document.text or "")
        yield document


def _with_lines(document: Document, start: int) -> Document:
    """The document with the lines of its sentences as its text. start: characters in earlier parts."""
    between = "\n" if start else ""
    sentences, at = [], len(between)
    for sentence in document:
        sentences.append(replace(sentence, start=at))
        at += len(sentence.text) + 1
    text = between + "\n".join(s.text for s in sentences)
    return replace(document, sentences=tuple(sentences), text=text, start=start)


def joined_parts(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents, the parts of a text as one. For formats that cannot be written in parts.

    Parts without a text stay as they are: the offsets of each of their sentences are its own.
    """
    parts: list[Document] = []
    for document in documents:
        goes_on = document.continues and document.text is not None
        if parts and not (goes_on and document.id == parts[0].id):
            yield _joined(parts)
            parts = []
        parts.append(document)
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[Document]) -> Document:
    first = parts[0]
    if len(parts) == 1 and not first.start:
        return first
    text, sentences = "", []
    for part in parts:
        text = text.ljust(part.start) + (part.text or "")
        sentences += [replace(sentence, start=part.start + sentence.start) for sentence in part]
    return replace(first, sentences=tuple(sentences), text=text, start=0, continues=False)


@dataclass(slots=True)
class DocumentIds:
    """Ids that name one document of a file each: what repeats is numbered, and told."""

    path: Path
    _names: NumberedNames = field(default_factory=lambda: NumberedNames("-"))
    _first: tuple[str, str] | None = None  # that was numbered: before and after
    _n: int = 0

    def unique(self, id: str) -> str:
        """The id; numbered if an earlier document has it; the name of the file if it is empty.

        Example: "19148276", "19148276" -> "19148276", "19148276-2"
        """
        id = id or document_id(self.path)
        unique = self._names.of(id)
        if unique != id:
            self._n += 1
            self._first = self._first or (id, unique)
        return unique

    def tell(self, notify: Callable[[str], None]) -> None:
        if self._first:
            notify(
                f"{self.path}: {self._n} documents have the id of an earlier one; they are kept apart and "
                f"numbered (the second {self._first[0]!r:.80} is {self._first[1]!r:.80})"
            )
