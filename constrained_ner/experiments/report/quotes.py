"""An error in its sentence: the text around two mentions, cut where either of them begins or ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from ...data import Mention, Sentence, Span
from ...evaluation.error_kinds import KINDS, ErrorAnalysis, Kind
from ...evaluation.matching import Pair

_AROUND = 60
"""Characters of the sentence that are shown before and after the mentions."""
_LONGEST_PIECE = 3 * _AROUND

_MEANING: dict[Kind, str] = {
    "type": "the right name, another type",
    "boundary": "the right type, but it begins or ends elsewhere",
    "boundary+type": "overlaps a name, and has another type",
    "offset": "the right name and type, at another place in the sentence",
    "name": "the right place, but gold spells the name differently from the text",
    "missed": "in gold, not found",
    "spurious": "found, not in gold",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is in the gold mention, in the predicted one, in both or in neither."""

    text: str
    gold: bool
    predicted: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """One error. gold, predicted: the mentions; None for the one that is missing."""

    sentence_id: str
    pieces: tuple[Piece, ...]
    gold: Mention | None
    predicted: Mention | None


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """The errors of one kind: how many, what that means, and a few of them."""

    name: str
    meaning: str
    n: int
    quotes: tuple[Quote, ...]


def error_kinds(errors: ErrorAnalysis, gold: Iterable[Sentence], n_examples: int) -> list[ErrorKind]:
    """The kinds of errors that there are, each with up to n examples, spread over the data."""
    texts = {sentence.id: sentence.text for sentence in gold}
    return [
        ErrorKind(
            kind,
            _MEANING[kind],
            len(errors.pairs[kind]),
            tuple(quote(pair, texts[pair.sentence_id]) for pair in errors.examples(kind, n_examples)),
        )
        for kind in KINDS
        if kind != "right" and errors.pairs[kind]
    ]


def quote(pair: Pair, text: str) -> Quote:
    """A pair in its sentence. Predictions of other tools may run past the text."""
    gold, predicted = (m.spans if m else () for m in (pair.gold, pair.predicted))
    edges = {min(place, len(text)) for span in (*gold, *predicted) for place in (span.start, span.end)}
    start, end = _start(text, min(edges)), _end(text, max(edges))
    places = sorted({start, end, *edges})
    pieces = [
        Piece(_shown(text[a:b]), _within(gold, a, b), _within(predicted, a, b)) for a, b in pairwise(places)
    ]
    before, after = Piece("…" * (start > 0), False, False), Piece("…" * (end < len(text)), False, False)
    return Quote(pair.sentence_id, (before, *pieces, after), pair.gold, pair.predicted)


def _start(text: str, place: int) -> int:
    """Where to begin: with a word, if one begins close by."""
    start = max(0, place - _AROUND)
    blank = text.find(" ", start, min(start + _AROUND // 3, place)) if start else -1
    return start if blank < 0 else blank + 1


def _end(text: str, place: int) -> int:
    end = min(len(text), place + _AROUND)
    blank = text.rfind(" ", max(end - _AROUND // 3, place), end) if end < len(text) else -1
    return end if blank < 0 else blank


def _within(spans: Iterable[Span], start: int, end: int) -> bool:
    return any(span.start <= start and end <= span.end for span in spans)


def _shown(text: str) -> str:
    """On one line, without the middle of a long one."""
    short = text if len(text) <= _LONGEST_PIECE else f"{text[:_AROUND]} … {text[-_AROUND:]}"
    return "".join(c if c.isprintable() else " " for c in short)
