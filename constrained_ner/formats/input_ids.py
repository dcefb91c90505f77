"""Ids of a whole input: each names one text, and has no character that ends an id in a file of results.

Files know nothing of one another, and their ids may be anything. Results name a text by its id alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import Document, Sentence
from ..files import shown
from .evaluator_lines import UNUSABLE
from .numbered_names import NumberedNames
from .text import document_id


@dataclass(slots=True)
class InputIds:
    """Gives the documents of an input their ids, and says once what was changed."""

    path: Path
    notify: Callable[[str], None]
    _documents: NumberedNames = field(default_factory=lambda: NumberedNames("#"))
    _sentences: NumberedNames = field(default_factory=lambda: NumberedNames("#"))
    _last: tuple[str, str] | None = None
    _told: set[str] = field(default_factory=set)

    def named(self, document: Document, file: Path) -> Document:
        """The document, with its own id if that is usable and was not used before."""
        if document.continues and self._last is not None:  # a later part of a text
            return self._with_sentences(_renamed(document, self._last[1]), file)
        own = document.id if document.id.strip() else document_id(file)  # blanks name nothing
        self._last = document.id, self._unique(own, self._documents, file, "document")
        return self._with_sentences(_renamed(document, self._last[1]), file)

    def _with_sentences(self, document: Document, file: Path) -> Document:
        if not document.in_sentences:  # they are named when they are cut
            return document
        return replace(document, sentences=tuple(self._sentence(s, file) for s in document))

    def _sentence(self, sentence: Sentence, file: Path) -> Sentence:
        unique = self._unique(sentence.id, self._sentences, file, "sentence")
        return sentence if unique == sentence.id else replace(sentence, id=unique)

    def _unique(self, id: str, taken: NumberedNames, file: Path, what: str) -> str:
        usable = UNUSABLE.sub("_", id)
        if usable != id:
            self._tell_once(f"{what} ids with a vertical bar or a line break are written with _", id, usable)
        if usable not in taken:
            return taken.of(usable)
        in_file = f"{UNUSABLE.sub('_', shown(file.stem))}/{usable}"
        unique = taken.of(usable if in_file in taken else in_file)
        self._tell_once(f"{what} ids that repeat are qualified", usable, unique)
        return unique

    def _tell_once(self, what: str, before: str, after: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.notify(f"{self.path}: {what} (the first, {before!r:.80}, is now {after!r:.80})")


def _renamed(document: Document, name: str) -> Document:
    if name == document.id:
        return document
    sentences = (replace(s, id=name + s.id.removeprefix(document.id)) for s in document)
    return replace(document, id=name, sentences=tuple(sentences))
