"""Where the names of an answer are in the sentence: equal strings between word edges, nothing else.

Three rules, by what a form says about places:

    everywhere   an entry stands for all places of its name, as in this package's lists
    numbered     an entry says which place of its name is meant
    in_order     entries follow the sentence, as tags do
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...constraint.edges import edges
from ...constraint.name_list import places_of, spread
from ...data import Span
from .form import Reading

Entry = tuple[str, str]
"""Name and type."""


def everywhere(text: str, entries: Iterable[Entry]) -> Reading:
    """Longer names first; the first entry of a name decides its type.

    Example: "iron, iron" with iron = drug -> drug 0-4, drug 6-10
    """
    places = edges(text)
    taken = _Taken(text)
    listed: list[tuple[str, Span]] = []
    n_absent = 0
    for name, entity_type in entries:
        spans = _places(text, name, places)
        n_absent += not spans
        own = taken.first_free(spans)
        if own is not None:
            taken.take(own)
            listed.append((entity_type, own))
    return Reading(tuple((name, span) for _, name, span in spread(listed, text, places)), n_absent)


def numbered(text: str, entries: Iterable[tuple[str, str, int]]) -> Reading:
    """Name, type, and which of the name's places, from 1.

    Example: "iron, iron" with (iron, drug, 2) -> drug 6-10
    """
    places = edges(text)
    found: list[tuple[str, Span]] = []
    n_absent = 0
    for name, entity_type, n in entries:
        spans = _places(text, name, places)
        if 1 <= n <= len(spans):
            found.append((entity_type, spans[n - 1]))
        else:
            n_absent += 1
    return Reading(tuple(found), n_absent)


def in_order(text: str, entries: Iterable[Entry]) -> Reading:
    """Each at its first free place after the one before, or else at its first free place.

    Example: "iron, gold, iron" with gold, iron -> 6-10, 12-16
    """
    places = edges(text)
    taken = _Taken(text)
    found: list[tuple[str, Span]] = []
    n_absent = done = 0
    for name, entity_type in entries:
        spans = _places(text, name, places)
        n_absent += not spans
        own = taken.first_free([span for span in spans if span.start >= done]) or taken.first_free(spans)
        if own is not None:
            taken.take(own)
            found.append((entity_type, own))
            done = own.end
    return Reading(tuple(found), n_absent)


def _places(text: str, name: str, places: Sequence[int]) -> list[Span]:
    return list(places_of(name, text, places)) if name else []


class _Taken:
    """The characters that have a name already."""

    def __init__(self, text: str) -> None:
        self._flags = bytearray(len(text))

    def first_free(self, spans: Iterable[Span]) -> Span | None:
        return next((span for span in spans if not any(self._flags[span.start : span.end])), None)

    def take(self, span: Span) -> None:
        self._flags[span.start : span.end] = b"\1" * (span.end - span.start)
