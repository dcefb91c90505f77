"""From a free list of names to mentions: each name is looked for in the sentence, whatever order they are in.

A name that the sentence contains between the edges of words is `exact`, at its first place that is still
free. The others are aligned with the sentence all together, in their order (see `alignment`), which finds
those that differ in case, white space or a letter. What has no place then is counted as invented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..constraint.edges import edges
from ..constraint.list_automaton import ListAutomaton
from ..constraint.name_list import FreeEntry, places_of, spread, word_numbers
from ..data import Mention, Sentence, Span
from .alignment import align
from .result import Annotated, Effort


def read_list(constraint: ListAutomaton, written: str) -> Annotated:
    """The mentions of a list that may contain anything; effort and problems are those of reading it."""
    names = constraint.machine.names
    problems: list[str] = []
    known: list[tuple[FreeEntry, str]] = []
    for entry in names.parse(written):
        if entry.type is None:
            problems.append(f"{entry.written!r} has no type of the schema")
        else:
            known.append((entry, entry.type))
    n_unknown_types = len(problems)
    own, absent = _at_their_places(constraint, known)
    aligned, unaligned = _aligned(constraint.text, absent, own)
    problems += unaligned
    listed = sorted((*own, *aligned), key=lambda m: m.start)
    mentions = listed if names.occurrences else list(_everywhere(constraint, listed))
    return Annotated(
        Sentence("", constraint.text).with_mentions(mentions),
        Effort(n_unknown_tags=n_unknown_types, n_invented=len(unaligned)),
        problems=tuple(problems),
    )


def _at_their_places(
    constraint: ListAutomaton, known: Sequence[tuple[FreeEntry, str]]
) -> tuple[list[Mention], list[tuple[FreeEntry, str]]]:
    """The names that the sentence contains, each at a free place, and the entries whose names it does not."""
    text = constraint.text
    places = edges(text, constraint.boundary)
    numbers = word_numbers(text, places) if constraint.machine.names.occurrences else {}
    taken = bytearray(len(text))
    found: list[Mention] = []
    absent: list[tuple[FreeEntry, str]] = []
    for entry, entity_type in known:
        spans = list(places_of(entry.name, text, places)) if entry.name else []
        if not spans:
            absent.append((entry, entity_type))
        free = [s for s in spans if not any(taken[s.start : s.end]) and numbers.get(s.end, 1) >= entry.n]
        if free:
            span = free[0]
            taken[span.start : span.end] = b"\1" * (span.end - span.start)
            found.append(Mention((span,), entity_type, entry.name, provenance="exact"))
    return found, absent


def _aligned(
    text: str, absent: Sequence[tuple[FreeEntry, str]], own: Sequence[Mention]
) -> tuple[list[Mention], list[str]]:
    """Those of the other names that are nearly in the sentence, and what is wrong with the rest."""
    copy, spans = "", []
    for entry, entity_type in absent:
        spans.append((entity_type, Span(len(copy), len(copy) + len(entry.name))))
        copy += entry.name + "\n"
    alignment = align(copy, spans, text)
    problems = [f"{name.text!r} ({name.type}): {name.reason}" for name in alignment.unaligned]
    free: list[Mention] = []
    for mention in alignment.mentions:
        if all(mention.end <= other.start or other.end <= mention.start for other in own):
            free.append(mention)
        else:
            problems.append(f"{mention.text!r} ({mention.type}): its place is that of another name")
    return free, problems


def _everywhere(constraint: ListAutomaton, listed: Sequence[Mention]) -> Iterator[Mention]:
    """All places of the listed names."""
    places = edges(constraint.text, constraint.boundary)
    for n, entity_type, span in spread([(m.type, m.spans[0]) for m in listed], constraint.text, places):
        name = listed[n]
        yield Mention((span,), entity_type, name.text, provenance=name.provenance, score=name.score)
