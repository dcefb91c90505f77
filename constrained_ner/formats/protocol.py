"""What a file format is: how to read documents from it and how to write sentences to it.

A reader gives documents with their texts; spans are half-open code points, whatever the file uses.
A mention reader is for files of results, which name sentences but do not contain their texts.
A writer produces one file, a piece at a time.
A format has whichever of the three make sense for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..data import Document, Mention, Sentence


class Reader(Protocol):
    def __call__(self, path: Path, /) -> Iterable[Document]:
        """The documents of a file or folder. Raises InputError naming the file and the place."""


class MentionReader(Protocol):
    def __call__(self, path: Path, /) -> list[tuple[str, Mention]]:
        """The mentions of a file, in order, each with the id of its sentence. Raises InputError."""


class Writer(Protocol):
    def __call__(self, sentences: Iterable[tuple[str, Sentence]], /) -> Iterator[str]:
        """The text of a file, in pieces.

        sentences: pairs of document id and sentence, in order; a new document id starts a new document.
        Holds one sentence at a time: a run writes while it reads its journal.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What can be done with files of one format; None for what cannot."""

    read: Reader | None = None
    read_mentions: MentionReader | None = None
    write: Writer | None = None


def sentences_of(documents: Iterable[Document]) -> Iterator[tuple[str, Sentence]]:
    """Every sentence with the id of its document, as writers take them."""
    return ((document.id, sentence) for document in documents for sentence in document)
