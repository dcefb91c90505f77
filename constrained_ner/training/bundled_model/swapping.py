"""Gold sentences with other names in them: the sentence says what kind of name it is, not the name alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data import Mention, Sentence, Span


@dataclass(frozen=True)
class Swapper:
    """names: for each source (a lexicon, the gold sentences), entity type -> names.

    share_of_mentions: how many of a sentence's names are replaced, each source equally often.
    """

    names: tuple[Mapping[str, Sequence[str]], ...]
    share_of_mentions: float = 0.6

    def swap(self, sentence: Sentence, rng: np.random.Generator) -> Sentence:
        """The sentence with some names replaced by names of the same type; equal names stay equal."""
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
    """(name, type) pairs grouped, each name once, in a fixed order."""
    grouped: dict[str, set[str]] = defaultdict(set)
    for name, kind in pairs:
        grouped[kind].add(name)
    return {kind: sorted(names) for kind, names in grouped.items()}


def _overlap(mentions: Sequence[Mention]) -> bool:
    return any(b.start < a.end for a, b in pairwise(mentions))


def _in_case_of(old: str, new: str) -> str:
    """The new name written as the old one: all capitals, a first capital, or a first small letter."""
    if old.isupper() and len(old) > 3:
        return new.upper()
    if old[0].isupper():
        return new[0].upper() + new[1:]
    if new[:2].isupper() or not old[0].islower():
        return new  # an abbreviation keeps its capitals
    return new[0].lower() + new[1:]
