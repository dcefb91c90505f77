"""Mentions <-> a list of names. The only module that knows what such a list looks like.

    Effect of aspirin on beta-blockers.   ->   aspirin = drug; beta-blockers = group
    No interaction is known.              ->   none

Names come in the order of the sentence, each from a place that is not before the end of the one listed before
it. So a list cannot go on for ever, whatever engine writes it, and its grammar needs no memory: a few rules
for each word.

A name that is listed stands for all its places, so it is listed once. With `occurrences` it stands for one
place, and if the last word of the name has been in the sentence before, its number says which one is meant:

    Iron, then iron, then iron.           ->   iron (2) = drug      (with `occurrences`, the last one)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..data import Mention, Span
from .edges import CLOSE, OPEN, Boundary, edges
from .markup import Markup

IS, NEXT, NONE = " = ", "; ", "none"
"""Between a name and its type; between entries; the answer if there is no name."""

_ENTRY = re.compile(rf"(?P<name>.*\S)\s*{IS.strip()}\s*(?P<type>[^{IS.strip()}]*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"(.*\S) \(([0-9]{1,6})\)", re.DOTALL)


def number(n: int) -> str:
    """How an entry says that the n-th place of a word is meant. Example: 2 -> " (2)", 1 -> "" """
    return f" ({n})" if n > 1 else ""


def word_numbers(text: str, places: Sequence[int]) -> dict[int, int]:
    """The end of each word -> how many words up to there are spelt like it.

    places: the flags of `edges(text)`.
    Example: "iron, iron" -> {4: 1, 5: 1, 10: 2}
    """
    counts: dict[str, int] = {}
    found: dict[int, int] = {}
    starts = [place for place, flags in enumerate(places) if flags & OPEN]
    ends = [place for place, flags in enumerate(places) if flags & CLOSE]
    for start, end in zip(starts, ends, strict=True):
        word = text[start:end]
        found[end] = counts[word] = counts.get(word, 0) + 1
    return found


@dataclass(frozen=True, slots=True)
class FreeEntry:
    """An entry of a free answer.

    type: None if it has none that the schema knows. n: the number that it was written with, or 1.
    """

    written: str
    name: str
    type: str | None
    n: int = 1


class NameList:
    """Lists of names with the types of a schema.

    occurrences: whether an entry stands for one place of its name, not for all.
    """

    def __init__(self, markup: Markup, *, occurrences: bool = False) -> None:
        self.markup = markup
        self.occurrences = occurrences
        self.labels: Mapping[str, str] = {t.name: t.tag for t in markup.schema.types}
        self._types = {label: name for name, label in self.labels.items()}

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        """The list of these mentions, which must be sorted, contiguous and disjoint.

        Without `occurrences`, a name that has been listed with the same type is not listed again.
        """
        entries = [name + IS + label for name, label in self.entries(text, mentions, boundary)]
        return NEXT.join(entries) or NONE

    def entries(
        self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word"
    ) -> list[tuple[str, str]]:
        """The same as pairs: a name, with its number if it has one, and what is written for its type."""
        numbers = word_numbers(text, edges(text, boundary)) if self.occurrences else {}
        found: list[tuple[str, str]] = []
        for mention in mentions:
            name = text[mention.start : mention.end] + number(numbers.get(mention.end, 1))
            entry = (name, self.labels[mention.type])
            if self.occurrences or entry not in found:
                found.append(entry)
        return found

    def parse(self, answer: str) -> Iterator[FreeEntry]:
        """The entries of a free answer, as leniently as possible without inventing anything.

        Its first line counts, because models without a chat template go on with another sentence.
        """
        answer = answer.strip().split("\n")[0]
        for part in answer.split(NEXT.strip()):
            entry = part.strip()
            if not entry or entry.rstrip(".").lower() == NONE:
                continue
            match = _ENTRY.fullmatch(entry)
            name, label = (match["name"], match["type"]) if match else (entry, "")
            numbered = _NUMBER.fullmatch(name) if self.occurrences else None
            if numbered:
                name = numbered[1]
            n = int(numbered[2]) if numbered else 1
            yield FreeEntry(entry, name, self._types.get(label.strip(" .<>")), n)


def places_of(name: str, text: str, places: Sequence[int]) -> Iterator[Span]:
    """The places of a name in the text, from left to right, that start and end where a mention may.

    places: the flags of `edges(text)`. They may overlap one another.
    """
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if places[at] & OPEN and places[end] & CLOSE:
            yield Span(at, end)
        at = text.find(name, at + 1)


def spread(
    listed: Sequence[tuple[str, Span]], text: str, places: Sequence[int]
) -> Iterator[tuple[int, str, Span]]:
    """All places of listed names: (number of the entry, type, span).

    listed: type and own place of each entry; own places are disjoint. Places of longer names are taken first,
    none overlap, and a name that is listed with two types has the first one where it was not listed.
    """
    taken = bytearray(len(text))
    for n, (entity_type, span) in enumerate(listed):
        taken[span.start : span.end] = b"\1" * (span.end - span.start)
        yield n, entity_type, span
    first: dict[str, int] = {}
    for n, (_, span) in enumerate(listed):
        first.setdefault(text[span.start : span.end], n)
    for name in sorted(first, key=lambda name: (-len(name), first[name])):
        n = first[name]
        for span in places_of(name, text, places):
            if not any(taken[span.start : span.end]):
                taken[span.start : span.end] = b"\1" * len(name)
                yield n, listed[n][0], span
