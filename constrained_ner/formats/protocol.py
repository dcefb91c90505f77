"""What a file format is: how to read documents from a file and how to write them to one.

A reader gives documents with their texts; spans are half-open code points, whatever the file counts.
A mention reader is for files of results, which name texts but do not contain them.
A writer produces one file, a piece at a time, or the files of a folder.
A format has whichever of these make sense for it.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..data import Document, Mention

UNTYPED = "entity"
"""The type of a mention to which the file gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to read a file, and whom to tell what was found.

    text_field, id_field: names of the fields of a record (JSON lines, tables) with the text and the id; None
        for those that are known.
    columns: names of the columns of a file of tokens (CoNLL), such as ("token", "_", "tag"); None to detect
        them.
    notify: called with one line for each thing that had to be decided or that is left out (the unit of the
        offsets, mentions that do not fit their text), once for the file and not once for each mention.
    report_damaged: called with one line naming file and place for each record that cannot be read. The reader
        goes on with the next. A file that is not of the format at all raises InputError.
    """

    text_field: str | None = None
    id_field: str | None = None
    columns: tuple[str, ...] | None = None
    notify: Callable[[str], None] = warnings.warn
    report_damaged: Callable[[str], None] = warnings.warn


@dataclass(slots=True)
class Losses:
    """What a format could not express, counted: what was done -> how often.

    Example: {"discontinuous mentions written from their first to their last character": 3}
    """

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, n: int = 1) -> None:
        if n:
            self.counts[what] += n

    def tell(self, output: str, format: str, notify: Callable[[str], None]) -> None:
        """Say what was lost, in one line, if anything was."""
        if self.counts:
            listed = "; ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
            notify(f"{output}: what {format} cannot express: {listed}")


class Recogniser(Protocol):
    def __call__(self, path: Path, head: str, /) -> bool:
        """Whether a file with a suffix of the format is of it. head: its first 64 kB, decoded leniently."""


class Reader(Protocol):
    def __call__(self, path: Path, reading: Reading, /) -> Iterator[Document]:
        """The documents of one file, one at a time: memory must not grow with the file where the format
        allows that. Raises InputError naming the file and the place."""


class MentionReader(Protocol):
    def __call__(self, path: Path, /) -> list[tuple[str, Mention]]:
        """The mentions of a file, in order, each with an id as `Document.located` gives it.

        Raises InputError.
        """


class Writer(Protocol):
    def __call__(self, documents: Iterable[Document], losses: Losses, /) -> Iterator[str]:
        """The text of a file, in pieces (UTF-8 on disk). Holds one document at a time: a run writes while it
        reads its journal."""


class BytesWriter(Protocol):
    def __call__(self, documents: Iterable[Document], losses: Losses, /) -> Iterator[bytes]:
        """A binary file, in pieces."""


class FolderWriter(Protocol):
    def __call__(self, documents: Iterable[Document], losses: Losses, /) -> Iterator[tuple[str, str]]:
        """The files of a folder, in pieces: pairs of a file's name and text to append to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What can be done with files of one format; None for what cannot.

    summary: one line for the list of formats.
    suffixes: how the names of its files end, in small letters, such as ".jsonl"; an output's name with the
        first of them asks for the format.
    recognises: tells its files from others with the same suffix; None if the suffix says enough.
    in_sentences: whether what is written is made of sentences; running text is cut before.
    """

    summary: str = ""
    suffixes: tuple[str, ...] = ()
    recognises: Recogniser | None = None
    in_sentences: bool = False
    read: Reader | None = None
    read_mentions: MentionReader | None = None
    write: Writer | None = None
    write_bytes: BytesWriter | None = None
    write_folder: FolderWriter | None = None
