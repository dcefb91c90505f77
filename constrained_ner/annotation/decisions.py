"""Which decisions of an answer wrote which mention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ..constraint.sentence_automaton import TaggedSpan

Decision = TypeVar("Decision")


def decisions_by_span(
    tagged: Sequence[TaggedSpan], tokens: Iterable[tuple[int, Decision | None]]
) -> list[list[Decision]]:
    """For each span the decisions from its opening to its closing tag, in order.

    They are that a tag opens here, of this type, that it does not close before, and that it closes there. A
    token that ends one mention and begins the next belongs to both.
    tokens: number of bytes and decision of each token of the answer; None if there was no choice.
    """
    found: list[list[Decision]] = [[] for _ in tagged]
    at, end = 0, 0
    for n_bytes, decision in tokens:
        start, end = end, end + n_bytes
        while at < len(tagged) and tagged[at].closes_at_byte <= start:
            at += 1
        for number in range(at, len(tagged)):
            if end <= tagged[number].opens_at_byte:
                break
            if decision is not None:
                found[number].append(decision)
    return found
