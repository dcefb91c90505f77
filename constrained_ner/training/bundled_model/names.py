"""Builds a lexicon for tagging running text by longest match, and for swapping names in gold sentences.

Some brands in the listed names are everyday words. A name is kept only if the text does not contradict it. If
the gold sentences contain it, they decide: it must be tagged at least half of the time, and its type there
counts. If they do not, its rarest word must not be common in lower case.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ...annotation.lexicon import Key, Lexicon, key_of
from ...data import Sentence

_MAX_WORDS = 8
_MIN_LETTERS = 4


def gold_names(sentences: Iterable[Sentence]) -> dict[Key, Counter[str]]:
    """Count for each name how often it is annotated with each type."""
    counts: dict[Key, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for mention in sentence.mentions:
            if not mention.discontinuous:
                counts[key_of(sentence.text[mention.start : mention.end])][mention.type] += 1
    return dict(counts)


def build_lexicon(
    listed: Iterable[tuple[str, str]],
    gold: Sequence[Sentence],
    lower_case_words: Mapping[str, int],
    *,
    common: int,
) -> Lexicon:
    """Combine listed names with those of the gold sentences, without names that the text contradicts.

    lower_case_words: word -> number of times it occurs in lower case in running text.
    common: number of times that is too often for a brand; names of other types may be 100 times as common.
    """
    counts = gold_names(gold)
    candidates = {
        key_of(name): kind for name, kind in listed if _usable(name, kind, lower_case_words, common)
    }
    candidates |= {key: types.most_common(1)[0][0] for key, types in counts.items() if key}
    candidates.pop((), None)
    seen = _occurrences((s.text for s in gold), candidates)
    kept: dict[Key, str] = {}
    for key, kind in candidates.items():
        n_tagged = sum(counts.get(key, Counter()).values())
        if 2 * n_tagged >= seen[key]:
            kept[key] = kind
    return Lexicon(kept)


def _usable(name: str, kind: str, lower_case_words: Mapping[str, int], common: int) -> bool:
    key = key_of(name)
    if not 0 < len(key) <= _MAX_WORDS or len(name) < _MIN_LETTERS or not name[0].isalpha():
        return False
    limit = common if kind == "brand" else 100 * common
    return min(lower_case_words.get(word.lower(), 0) for word in key) < limit


def _occurrences(texts: Iterable[str], names: Mapping[Key, str]) -> Counter[Key]:
    """Count how often each name occurs in the texts as a longest match."""
    lexicon = Lexicon(names)
    return Counter(key_of(m.text) for text in texts for m in lexicon.tag(text))


def lower_case_counts(texts: Iterable[str]) -> Counter[str]:
    """Count how often each word occurs in lower case in the texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(r"\b[a-z]+\b", text))
    return counts
