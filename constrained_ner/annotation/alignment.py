"""From a free answer back to the sentence: where do the names that a model wrote stand in the text?

An unconstrained answer is a copy of the sentence with tags, more or less. The whole copy is aligned with the
sentence, so each name lands where the words around it say, and a repeated name on its own occurrence:

    text    Give aspirin, not iron; aspirin helps.
    answer  Give aspirin, not iron; Asprin helps.     with the second one tagged
    result  the second aspirin, fuzzy, score 0.86

1. Both are split into words and punctuation, and the longest common subsequence of these anchors them.
2. A name whose words are all anchored to neighbouring words is carried over: `exact`, or `normalised` where
   case or white space differ.
3. Any other name is compared with every run of whole words between the anchors around it. The most similar is
   taken if it is similar enough, and the shorter the names, the more similar they have to be: one letter
   makes another drug of a short name. Otherwise the name stays unaligned, with the reason.

White space never counts: everything but the final offsets is done on the characters that leave ink.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rapidfuzz.distance import Indel, Levenshtein
from rapidfuzz.process import extract_iter

from ..constraint.edges import CLOSE, OPEN, edges
from ..data import Mention, Provenance, Span

# A combining accent belongs to its word: "e" + U+0301 is one letter.
_TOKEN = re.compile(r"[\w\u0300-\u036f]+|\S")

_LOWEST_SIMILARITY = 0.7


def minimum_similarity(length: int) -> float:
    """How similar two names must be, by the length of the longer one.

    Up to 6 characters they must be the same; one edit is allowed from 7, two from 10, five in 20.

    Examples: 5 -> 0.9 (one edit leaves 0.8), 7 -> 0.843 (one edit leaves 0.857), 20 -> 0.75
    """
    return min(1.0, _LOWEST_SIMILARITY + 1 / max(length, 1))


@dataclass(frozen=True, slots=True)
class Unaligned:
    """A name in the answer for which the text has no place, and why."""

    type: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """The mentions found, in order and disjoint, and the names that were not found."""

    mentions: tuple[Mention, ...]
    unaligned: tuple[Unaligned, ...]


def align(answer: str, answer_mentions: Iterable[tuple[str, Span]], text: str) -> Alignment:
    """The mentions of an answer (type and span in the answer's plain text) as mentions of the text.

    Order is kept and results never overlap. Raises nothing for any pair of strings: mentions that overlap
    or lie outside the answer come back unaligned.

    Example: align("On Aspirin", [("drug", Span(3, 10))], "on aspirin") -> drug 3-10, normalised
    """
    source, copy = _Inked.of(text), _Inked.of(answer)
    anchors = _anchors(copy.tokens, source.tokens)
    unaligned: list[Unaligned] = []
    names: list[_Name] = []
    for type_name, span in sorted(answer_mentions, key=lambda pair: pair[1]):
        start, end = copy.rank(span.start), copy.rank(span.end)
        if start == end:
            reason = "it is only white space, or outside the answer"
        elif names and start < names[-1].end:
            reason = "it overlaps the mention before it"
        else:
            names.append(_Name(type_name, answer[span.start : span.end].strip(), start, end))
            continue
        unaligned.append(Unaligned(type_name, answer[span.start : span.end], reason))

    carried = [_carry_over(name, copy, source, anchors) for name in names]
    # For each name, the start of the next one carried over: the place that it may not reach.
    ceilings = list(accumulate(reversed(carried), _ceiling, initial=len(source.ink)))[-2::-1]
    places = edges(text) if None in carried else b""
    mentions: list[Mention] = []
    floor = 0
    for name, place, ceiling in zip(names, carried, ceilings, strict=True):
        found: tuple[int, int, float] | str
        if place:
            found = (*place, 1.0)
        else:
            gap = _surroundings(name, copy, source, anchors, floor, ceiling)
            found = _search(name, copy, source, gap, places)
        if isinstance(found, str):
            unaligned.append(Unaligned(name.type, name.text, found))
        else:
            floor = found[1]
            mentions.append(_mention(name, source, *found))
    return Alignment(tuple(mentions), tuple(unaligned))


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in the answer; start and end count inked characters."""

    type: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int  # in inked characters, as is end
    end: int


@dataclass(frozen=True, slots=True)
class _Inked:
    """A text without its white space and case, and the way back."""

    text: str
    ink: str
    positions: Sequence[int]  # of each inked character in the text
    ranks: Sequence[int]  # number of inked characters before each position of the text, and in all of it
    tokens: Sequence[_Token]

    @classmethod
    def of(cls, text: str) -> _Inked:
        folded = text.casefold()
        if len(folded) != len(text):  # some characters fold to several: these stay as they are
            folded = "".join(f if len(f := c.casefold()) == 1 else c for c in text)
        positions = [i for i, c in enumerate(text) if not c.isspace()]
        ranks = [0, *accumulate(not c.isspace() for c in text)]
        tokens = [
            _Token(folded[m.start() : m.end()], ranks[m.start()], ranks[m.end()])
            for m in _TOKEN.finditer(text)
        ]
        return cls(text, "".join(folded.split()), positions, ranks, tokens)

    def rank(self, position: int) -> int:
        return self.ranks[min(position, len(self.text))]

    def span(self, start: int, end: int) -> Span:
        """The span of the text under these inked characters: no white space at its ends."""
        return Span(self.positions[start], self.positions[end - 1] + 1)


def _anchors(copy: Sequence[_Token], source: Sequence[_Token]) -> dict[int, int]:
    """Copy token -> source token, by the longest common subsequence, increasing on both sides."""
    opcodes = Indel.opcodes([t.text for t in copy], [t.text for t in source])
    return {
        op.src_start + i: op.dest_start + i
        for op in opcodes
        if op.tag == "equal"
        for i in range(op.src_end - op.src_start)
    }


def _tokens_under(name: _Name, tokens: Sequence[_Token]) -> range:
    """The indices of the tokens that share a character with the name."""
    under = [i for i, t in enumerate(tokens) if t.start < name.end and t.end > name.start]
    return range(under[0], under[-1] + 1)


def _carry_over(name: _Name, copy: _Inked, source: _Inked, anchors: dict[int, int]) -> tuple[int, int] | None:
    """The name's place in the source if all its tokens are anchored to neighbours, otherwise None."""
    under = _tokens_under(name, copy.tokens)
    first = anchors.get(under[0])
    if first is None or any(anchors.get(t) != first + t - under[0] for t in under):
        return None
    start = source.tokens[first].start + name.start - copy.tokens[under[0]].start
    return start, start + name.end - name.start


def _ceiling(later: int, place: tuple[int, int] | None) -> int:
    return place[0] if place else later


@dataclass(frozen=True, slots=True)
class _Gap:
    """Where to search: a stretch of the source, and the stretch of the copy that stands for it."""

    start: int
    end: int
    copy_start: int
    copy_end: int


def _surroundings(
    name: _Name, copy: _Inked, source: _Inked, anchors: dict[int, int], floor: int, ceiling: int
) -> _Gap:
    """The gap between the last anchor before the name and the first one after it."""
    under = _tokens_under(name, copy.tokens)
    before = next((t for t in reversed(range(under[0])) if t in anchors), None)
    after = next((t for t in range(under[-1] + 1, len(copy.tokens)) if t in anchors), None)
    return _Gap(
        start=max(floor, 0 if before is None else source.tokens[anchors[before]].end),
        end=min(ceiling, len(source.ink) if after is None else source.tokens[anchors[after]].start),
        copy_start=0 if before is None else copy.tokens[before].end,
        copy_end=len(copy.ink) if after is None else copy.tokens[after].start,
    )


def _search(
    name: _Name, copy: _Inked, source: _Inked, gap: _Gap, places: bytes
) -> tuple[int, int, float] | str:
    """Start, end and similarity of the run of whole words in the gap that is most like the name, or the
    reason why there is none. Of equals, the one nearest to the place that the characters around suggest."""
    wanted = copy.ink[name.start : name.end]
    windows = _windows(source, gap, places, len(wanted))
    if not windows:
        return "the text has nothing in its place"
    hint = _suggested_start(name, copy, source, gap)
    similarities = extract_iter(
        wanted, [source.ink[start:end] for start, end in windows], scorer=Levenshtein.normalized_similarity
    )
    score, _, (start, end) = max(
        (similarity, -abs(windows[i][0] - hint), windows[i]) for _, similarity, i in similarities
    )
    needed = minimum_similarity(max(len(wanted), end - start))
    if score < needed - 1e-9:
        span = source.span(start, end)
        there = source.text[span.start : span.end]
        return f"nothing in its place is similar enough: {there!r} has {score:.2f}, needed {needed:.2f}"
    return start, end, score


def _windows(source: _Inked, gap: _Gap, places: bytes, length: int) -> list[tuple[int, int]]:
    """The runs of whole words inside the gap whose length could be similar enough."""
    inked = range(gap.start, gap.end)
    starts = [i for i in inked if places[source.positions[i]] & OPEN]
    ends = [i + 1 for i in inked if places[source.positions[i] + 1] & CLOSE]
    shortest, longest = int(length * _LOWEST_SIMILARITY), int(length / _LOWEST_SIMILARITY) + 1
    windows: list[tuple[int, int]] = []
    first = 0  # the first end that is far enough from the start
    for start in starts:
        while first < len(ends) and ends[first] < start + max(shortest, 1):
            first += 1
        for end in ends[first:]:
            if end > start + longest:
                break
            windows.append((start, end))
    return windows


def _suggested_start(name: _Name, copy: _Inked, source: _Inked, gap: _Gap) -> int:
    """Where the name's first character lands when the gap is aligned character by character."""
    wanted = name.start - gap.copy_start
    opcodes = Levenshtein.opcodes(copy.ink[gap.copy_start : gap.copy_end], source.ink[gap.start : gap.end])
    for op in opcodes:
        if op.src_start <= wanted < op.src_end:
            return gap.start + int(min(op.dest_start + wanted - op.src_start, op.dest_end))
    return gap.start


def _mention(name: _Name, source: _Inked, start: int, end: int, score: float) -> Mention:
    span = source.span(start, end)
    there = source.text[span.start : span.end]
    if score < 1.0:
        return Mention((span,), name.type, there, provenance="fuzzy", score=score)
    provenance: Provenance = "exact" if there == name.text else "normalised"
    return Mention((span,), name.type, there, provenance=provenance)
