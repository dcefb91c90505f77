"""Mentions for formats that give each character one label at most: no gaps, no overlaps.

A discontinuous mention is taken from its first to its last character. Of mentions that overlap, a contiguous
one is kept before a discontinuous one, then the longest, then the first. Both are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..data import Mention, Span, covered_text
from .passages import AS_SPELT, NO_CONFIDENCE, OUTER
from .protocol import Losses

REPEATED = "mentions with the span and type of another left out"
OVERLAPPING = "mentions left out because they overlap others (the longest is kept)"


def outer(mentions: Iterable[Mention], losses: Losses) -> list[Mention]:
    """The mentions, each with one span, sorted; of those that are then alike, the first."""
    found: dict[tuple[Span, str], Mention] = {}
    for mention in mentions:
        losses.add(OUTER, mention.discontinuous)
        whole = Span(mention.start, mention.end)
        losses.add(REPEATED, (whole, mention.type) in found)
        found.setdefault((whole, mention.type), replace(mention, spans=(whole,)))
    return [found[key] for key in sorted(found)]


def trimmed(text: str, mentions: Iterable[Mention], losses: Losses) -> list[Mention]:
    """The mentions, each with one span, without blanks at its edges: blanks belong to no token."""
    found = []
    for mention in outer(mentions, losses):
        name = text[mention.start : mention.end]
        first = mention.start + len(name) - len(name.lstrip())
        end = mention.end - len(name) + len(name.rstrip())
        losses.add("mentions of nothing but blanks left out", first >= end)
        if first < end:
            losses.add(
                "mentions written without the blanks at their edges",
                (first, end) != (mention.start, mention.end),
            )
            found.append(replace(mention, spans=(Span(first, end),)))
    return outer(found, losses)


def flat(mentions: Iterable[Mention], losses: Losses) -> list[Mention]:
    """The mentions that are kept, each with one span, in the order of the text."""
    mentions = list(mentions)
    order = sorted(mentions, key=lambda m: (m.discontinuous, m.start - m.end, m.start, m.type))
    kept: list[Mention] = []
    for mention in order:
        if any(mention.start < other.end and other.start < mention.end for other in kept):
            losses.add(OVERLAPPING)
        else:
            kept.append(mention)
    return sorted(outer(kept, losses), key=lambda mention: mention.start)


def count_confidences(mentions: Iterable[Mention], losses: Losses) -> None:
    """Count what a format without confidences loses."""
    losses.add(NO_CONFIDENCE, sum(mention.confidence is not None for mention in mentions))


def count_spellings(text: str, mentions: Iterable[Mention], losses: Losses) -> None:
    """Count the names that are not spelt as the text has them, which a format without names loses."""
    losses.add(AS_SPELT, sum(mention.text != covered_text(text, mention.spans) for mention in mentions))
