"""An annotator that is loaded when it is first needed, and kept; and the package's functions, which use one.

import constrained_ner
constrained_ner.annotate("Effect of aspirin on beta-blockers.").mentions
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import overload

from ..data import Document, Sentence
from .annotator import Annotator


class KeptAnnotator:
    """Loads an annotator once in each process: threads wait for it, and a fork loads its own."""

    def __init__(self, load: Callable[[], Annotator]) -> None:
        self._load = load
        self._of_process: tuple[int, Lock, list[Annotator]] = (os.getpid(), Lock(), [])

    def get(self) -> Annotator:
        """That of this process. Raises UserError if it cannot be loaded; the next call tries again."""
        process, lock, kept = self._of_process
        if process != os.getpid():  # whose lock may be held for ever by a thread that was not forked
            self._of_process = process, lock, kept = os.getpid(), Lock(), []
        with lock:
            if not kept:
                kept.append(self._load())
            return kept[0]


_BUNDLED = KeptAnnotator(Annotator.load)


def annotate(text: str) -> Sentence:
    """The text as a sentence with its mentions, by the model that ships. See `Annotator.annotate`."""
    return _BUNDLED.get().annotate(text)


def annotate_many(texts: Iterable[str]) -> Iterator[Sentence]:
    """The texts as sentences, in order. See `Annotator.annotate_many`."""
    return _BUNDLED.get().annotate_many(texts)


@overload
def annotate_document(text: str) -> Document: ...  # type: ignore[overload-overlap]
@overload
def annotate_document(text: Iterable[str]) -> list[Sentence]: ...
def annotate_document(text: str | Iterable[str]) -> Document | list[Sentence]:
    """A running text, or the sentences of a document, made to agree. See `Annotator.annotate_document`."""
    return _BUNDLED.get().annotate_document(text)
