"""Mentions as a file has them, and how they become mentions of a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import Mention, Provenance
from .fitting import Fitting
from .units import Claim, Convention, Pieces


@dataclass(frozen=True, slots=True)
class RawMention:
    """A mention in the offsets of its file.

    pieces: start and end of each piece; none if the file gives no place.
    name: the file's own words; None if it has none.
    """

    pieces: Pieces
    type: str | None
    name: str | None = None
    confidence: float | None = None
    provenance: Provenance = "gold"
    score: float | None = None


@dataclass(frozen=True, slots=True)
class RawText:
    """A text with its mentions.

    id: None if the file gives none. document: the document that it is a sentence of, if it is one.
    start: characters of the source before the text; offsets count them.
    notes: what had to be decided, one for each time, such as "a mention of a second user is left out".
    """

    text: str
    mentions: tuple[RawMention, ...] = ()
    id: str | None = None
    document: str | None = None
    start: int = 0
    notes: tuple[str, ...] = ()

    def claims(self) -> Iterator[Claim]:
        """What the mentions say of their places."""
        for mention in self.mentions:
            if mention.pieces:
                yield Claim(self.text, self._from_text(mention), mention.name)

    def placed(
        self, convention: Convention[Claim], fitting: Fitting, place: str
    ) -> tuple[list[Mention], int]:
        """The mentions that are in the text, each once, and how many were repeated.

        place: where the text is in its file, such as "line 3".
        """
        found: dict[tuple[object, str], Mention] = {}
        n_repeated = 0
        for raw in self.mentions:
            if not raw.pieces:
                fitting.leave_out(f"{place}: {raw.name or raw.type!r:.60} has no offsets")
                continue
            spans = convention.spans(Claim(self.text, self._from_text(raw), raw.name))
            mention = fitting.mention(place, self.text, spans, raw.type, raw.name, raw.confidence)
            if mention is None:
                continue
            n_repeated += (mention.spans, mention.type) in found
            found.setdefault(
                (mention.spans, mention.type), replace(mention, provenance=raw.provenance, score=raw.score)
            )
        return list(found.values()), n_repeated

    def _from_text(self, mention: RawMention) -> Pieces:
        if not self.start:
            return mention.pieces
        return tuple((start - self.start, end - self.start) for start, end in mention.pieces)


@dataclass(slots=True)
class Notes:
    """What had to be decided while a file was read: told once each, with how often and where first."""

    path: Path
    _counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, notes: Iterable[str], place: str) -> None:
        for note in notes:
            self._counts[note] += 1
            self._first.setdefault(note, place)

    def tell(self, notify: Callable[[str], None]) -> None:
        for note, n in self._counts.items():
            times = f"{n} times, first in {self._first[note]}" if n > 1 else self._first[note]
            notify(f"{self.path}: {note} ({times})")
