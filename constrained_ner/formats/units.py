"""What the offsets of a file count, found by holding its own words against the text.

A browser counts UTF-16 units, a C program bytes; some count from 1, or the last character in. One Greek
letter then shifts all that follows. So every format has its rule, and where words of a file are not where the
rule puts them, the other conventions that are known are tried on the whole file:

    text "5 µg aspirin", offsets 6-13, words "aspirin"  ->  UTF-8 bytes

A convention is taken if it fits most of the words: those that the rule fits, and more. (One or two words that
are one off are mistakes.) Where two such conventions fit equally well and differ, the file is refused.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..data import Span, covered_text, disjoint
from ..errors import InputError

CODE_POINTS, LF_ONLY = "characters", "characters (CR LF counted as one)"
UTF_16, BYTES = "UTF-16 units", "UTF-8 bytes"
UNITS = (CODE_POINTS, LF_ONLY, UTF_16, BYTES)
"""What an offset may count."""

Pieces = tuple[tuple[int, int], ...]
"""Start and end of each piece of a mention, as its file has them."""


def as_code_points(text: str, offset: int, unit: str) -> int | None:
    """Where an offset of a text lies in code points; None outside it and in the middle of a character.

    Example: ("µg", 2, "UTF-8 bytes") -> 1
    """
    if unit == CODE_POINTS or (unit != LF_ONLY and text.isascii()):
        return offset if 0 <= offset <= len(text) else None
    ends = _ends(text, unit)
    place = bisect_left(ends, offset)
    return place if place < len(ends) and ends[place] == offset else None


def length(text: str, unit: str) -> int:
    """The length of a text in a unit."""
    return len(text) if unit == CODE_POINTS else _ends(text, unit)[-1]


@lru_cache(maxsize=4)  # a text has many mentions, and documents come one after the other
def _ends(text: str, unit: str) -> list[int]:
    """The units before each character, and before the end."""
    return list(itertools.accumulate(_sizes(text, unit), initial=0))


def _sizes(text: str, unit: str) -> Iterator[int]:
    if unit == BYTES:
        return (1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4 for c in text)
    if unit == UTF_16:
        return (1 if c < "\U00010000" else 2 for c in text)
    return (0 if c == "\r" and text[i + 1 : i + 2] == "\n" else 1 for i, c in enumerate(text))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file says of a mention: its pieces as they are in the file, and its words (None if it has none).

    text: what the offsets count in.
    """

    text: str
    pieces: Pieces
    name: str | None


ReadT = TypeVar("ReadT", bound=Claim, contravariant=True)


class Convention(Protocol[ReadT]):
    """A way to read offsets. `str()` of it ends the sentence "the offsets count ..."."""

    def spans(self, claim: ReadT, /) -> tuple[Span, ...] | None:
        """The spans in the claim's text, in order; None if one is empty or outside the text."""


@dataclass(frozen=True, slots=True)
class Counting:
    """The conventions of offsets in one text. first: the number of the first character."""

    unit: str = CODE_POINTS
    first: int = 0
    inclusive: bool = False

    def __str__(self) -> str:
        first = f", the first one is number {self.first}" if self.first else ""
        return f"{self.unit}{first}{', ends count the last one in' if self.inclusive else ''}"

    def spans(self, claim: Claim) -> tuple[Span, ...] | None:
        spans = []
        for start, end in claim.pieces:
            first = as_code_points(claim.text, start - self.first, self.unit)
            last = as_code_points(claim.text, end - self.first + self.inclusive, self.unit)
            if first is None or last is None or first >= last:
                return None
            spans.append(Span(first, last))
        return disjoint(spans) or None


def countings(rule: Counting = Counting()) -> tuple[Counting, ...]:
    """The known conventions for offsets in a text, the rule of the format first."""
    known = (Counting(unit, first, last) for first in (0, 1) for last in (False, True) for unit in UNITS)
    return rule, *(counting for counting in known if counting != rule)


ConventionT = TypeVar("ConventionT", bound=Convention[Any])


def same_words(one: str, other: str) -> bool:
    """Whether two texts are equal, whatever the kind of their white space: a file may write a line break as
    a space."""
    return one == other or _plain(one) == _plain(other)


def _plain(text: str) -> str:
    return "".join(" " if character.isspace() else character for character in text)


@dataclass(slots=True)
class _Votes:
    """n_fit: words that lie where the convention puts them. n_lost: those that lie only where the rule puts
    them. reading: a hash of all spans, equal for conventions that read the file alike."""

    n_fit: int = 0
    n_lost: int = 0
    reading: int = 0


def detect(
    path: Path,
    known: Sequence[ConventionT],
    claims: Callable[[], Iterable[Claim]],
    notify: Callable[[str], None],
) -> ConventionT:
    """The convention that a file follows.

    known: the conventions to try; the first is the rule of the format. claims: all mentions of the file, once
    more at each call, so that none has to be kept. Raises InputError if two conventions fit equally well and
    differ; notifies of what is taken if it is not the rule.
    """
    rule = known[0]
    if all(fits(claim, rule.spans(claim)) is not False for claim in claims()):
        return rule
    votes = [_Votes() for _ in known]
    n_names = 0
    for claim in claims():
        spans = [convention.spans(claim) for convention in known]
        fitting = [fits(claim, at) for at in spans]
        n_names += fitting[0] is not None
        for vote, fit, at in zip(votes, fitting, spans, strict=True):
            vote.n_fit += bool(fit)
            vote.n_lost += fitting[0] is True and not fit
            vote.reading = hash((vote.reading, None if fit is False else at))
    return _chosen(path, known, votes, n_names, notify)


def _chosen(
    path: Path,
    known: Sequence[ConventionT],
    votes: Sequence[_Votes],
    n_names: int,
    notify: Callable[[str], None],
) -> ConventionT:
    fitting = [vote.n_fit if 10 * vote.n_lost <= vote.n_fit - votes[0].n_fit else 0 for vote in votes]
    most = max(fitting)
    best = [n for n, n_fit in enumerate(fitting) if n_fit == most]
    if best[0] == 0 or 2 * most < n_names:
        return known[0]
    rival = next((n for n in best[1:] if votes[n].reading != votes[best[0]].reading), None)
    if rival is not None:
        raise InputError(
            f"{path}: cannot tell what the offsets count: {most} of {n_names} names are where they "
            f"should be if they count {known[best[0]]}, and as many if they count {known[rival]}"
        )
    notify(
        f"{path}: reading offsets as {known[best[0]]}: {most} of {n_names} names match "
        f"(the rule: {votes[0].n_fit})"
    )
    return known[best[0]]


def fits(claim: Claim, spans: tuple[Span, ...] | None) -> bool | None:
    """Whether the words of the file are at the spans, up to case; None if the file has no words."""
    if claim.name is None:
        return None
    there = None if spans is None else covered_text(claim.text, spans)
    return there is not None and same_words(there.casefold(), claim.name.casefold())
