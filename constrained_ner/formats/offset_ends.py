"""Whether the end of an entity is the last character or the one after it, as its name tells.

    <sentence text="Warfarin and aspirin, taken together."> ... charOffset="13-20" text="aspirin"

The DDI corpus counts the last character in; older editions and other corpora do not. Read the wrong way,
every mention is one character too long, nothing is found right, and training learns "aspirin,". So each name
is held against the text under both readings. It speaks for exclusive ends only if a word ends there, because
names may be written in the singular. An entity whose name does not tell is read as most of its file, and one
in a file without such names as most of all files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..data import Span, covered_text
from .evaluator_lines import parse_offsets


class RawEntity(NamedTuple):
    """An entity as it is in the file; None for attributes that it lacks."""

    id: str
    offsets: str | None
    type: str | None
    name: str | None


class RawSentence(NamedTuple):
    id: str
    text: str
    entities: list[RawEntity]


class RawDocument(NamedTuple):
    id: str
    sentences: list[RawSentence]


@dataclass(frozen=True, slots=True)
class RawFile:
    path: Path
    documents: list[RawDocument]

    def entities(self) -> Iterator[tuple[RawEntity, str]]:
        """Every entity with the text of its sentence."""
        for document in self.documents:
            for sentence in document.sentences:
                for entity in sentence.entities:
                    yield entity, sentence.text


@dataclass
class _Votes:
    """How many names fit inclusive ends, exclusive ends, and neither."""

    n_inclusive: int = 0
    n_exclusive: int = 0
    n_neither: int = 0

    def add(self, exclusive: bool | None) -> None:
        if exclusive is None:
            self.n_neither += 1
        elif exclusive:
            self.n_exclusive += 1
        else:
            self.n_inclusive += 1

    @property
    def exclusive(self) -> bool | None:
        """What most names say; None if none says anything, or as many the one as the other."""
        if self.n_exclusive == self.n_inclusive:
            return None
        return self.n_exclusive > self.n_inclusive


@dataclass
class OffsetEnds:
    """Reads the offsets of the entities of these files."""

    files: Sequence[RawFile]
    _all: _Votes = field(default_factory=_Votes)
    _by_file: dict[Path, _Votes] = field(default_factory=dict)
    _n_read_exclusively: int = 0
    _n_read: int = 0

    def __post_init__(self) -> None:
        for file in self.files:
            votes = self._by_file[file.path] = _Votes()
            for entity, text in file.entities():
                if entity.name is not None and entity.offsets is not None:
                    exclusive = told_by_name(entity.name, entity.offsets, text)
                    votes.add(exclusive)
                    self._all.add(exclusive)

    @property
    def n_files(self) -> int:
        return len(self.files)

    def spans(self, entity: RawEntity, text: str, file: RawFile) -> tuple[Span, ...]:
        """The spans of an entity, sorted. Raises ValueError if its offsets make no sense or are ambiguous."""
        inclusive = parse_offsets(entity.offsets or "")
        votes = self._by_file[file.path]
        if not self._all.n_exclusive:
            return inclusive
        exclusive = None if entity.name is None else told_by_name(entity.name, entity.offsets or "", text)
        if exclusive is None:
            exclusive = votes.exclusive if votes.exclusive is not None else self._all.exclusive
        if exclusive is None:
            raise ValueError(
                f"cannot tell whether {entity.offsets} counts the last character in: as many names say "
                "that ends do as that they do not"
            )
        self._n_read += 1
        self._n_read_exclusively += exclusive
        return _shortened(inclusive) if exclusive else inclusive

    def notes(self) -> Iterator[str]:
        """What the user should know, once everything is read."""
        if self._n_read_exclusively:
            yield (
                f"reading the ends of {self._n_read_exclusively} of {self._n_read} entities as exclusive, "
                "because their names match so"
            )
        n_named = self._all.n_inclusive + self._all.n_exclusive + self._all.n_neither
        if self._all.n_neither > max(2, n_named // 2):
            yield (
                f"{self._all.n_neither} of {n_named} names differ from the text at their offsets; "
                "are the offsets those of another text, or counted in bytes?"
            )


def told_by_name(name: str, offsets: str, text: str) -> bool | None:
    """Whether the name fits exclusive ends; None if it fits neither reading, or has no readable offsets."""
    try:
        inclusive = parse_offsets(offsets)
    except ValueError:
        return None
    covered = covered_text(text, inclusive)
    if inclusive[-1].end <= len(text) and _same(covered, name):
        return False
    try:
        exclusive = _shortened(inclusive)
    except ValueError:
        return None
    end = exclusive[-1].end
    ends_a_word = end == len(text) or not (end < len(text) and text[end].isalnum())
    if end <= len(text) and ends_a_word and _same(covered_text(text, exclusive), name):
        return True
    return None


def _same(one: str, other: str) -> bool:
    """Whether the two differ in case and kind of white space at most."""
    return one == other or _plain(one) == _plain(other)


def _plain(text: str) -> str:
    return "".join(" " if character.isspace() else character for character in text).casefold()


def _shortened(inclusive: tuple[Span, ...]) -> tuple[Span, ...]:
    """The spans if the offsets do not count the last character in. Raises ValueError for an empty one."""
    return tuple(Span(span.start, span.end - 1) for span in inclusive)
