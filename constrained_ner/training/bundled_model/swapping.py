"""Swaps names in gold sentences, so that the model also learns a name's type from the sentence around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data import Mention, Sentence, Span


@dataclass(frozen=True)
class Swapper:
    """Replaces names by others of the same type.

    names: for each source (a lexicon, the gold sentences), entity type -> names; each is used equally often.
    share_of_mentions: share of a sentence's names to replace.
    """

    names: tuple[Mapping[str, Sequence[str]], ...]
    share_of_mentions: float = 0.6

    def swap(self, sentence: Sentence, rng: np.random.Generator) -> Sentence:
        """Replace some names of the sentence; equal names get equal replacements."""
        mentions = sorted(sentence.mentions, key=lambda m: m.start)
        if any(m.discontinuous for m in mentions) or _overlap(mentions):
            return sentence
        chosen: dict[str, str] = {}
        parts: list[str] = []
        moved: list[Mention] = []
        done, length = 0, 0
        for mention in mentions:
            old = sentence.text[mention.start : mention.end]
            if old not in chosen:
                swapped = rng.random() < self.share_of_mentions
                chosen[old] = self._other(old, mention.type, rng) if swapped else old
            new = chosen[old]
            parts += [sentence.text[done : mention.start], new]
            length += mention.start - done
            moved.append(Mention((Span(length, length + len(new)),), mention.type, new))
            length += len(new)
            done = mention.end
        return Sentence(sentence.id, "".join([*parts, sentence.text[done:]]), tuple(moved))

    def _other(self, old: str, kind: str, rng: np.random.Generator) -> str:
        lists = [source[kind] for source in self.names if source.get(kind)]
        if not lists:
            return old
        names = lists[int(rng.integers(len(lists)))]
        return _in_case_of(old, names[int(rng.integers(len(names)))])


def names_by_type(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group (name, type) pairs by type, each name once, in a fixed order."""
    grouped: dict[str, set[str]] = defaultdict(set)
    for name, kind in pairs:
        grouped[kind].add(name)
    return {kind: sorted(names) for kind, names in grouped.items()}


def _overlap(mentions: Sequence[Mention]) -> bool:
    return any(b.start < a.end for a, b in pairwise(mentions))


def _in_case_of(old: str, new: str) -> str:
    """Capitalise the new name like the old one: all capitals, a first capital, or a first small letter."""
    if old.isupper() and len(old) > 3:
        return new.upper()
    if old[0].isupper():
        return new[0].upper() + new[1:]
    if new[:2].isupper() or not old[0].islower():
        return new  # an abbreviation keeps its capitals
    return new[0].lower() + new[1:]
