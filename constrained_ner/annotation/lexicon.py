"""Names with their types, found in text by longest match.

The model never sees them. A lexicon tags running text for training, and tells a decoder which tags to guess
in its drafts; the model then confirms or rejects them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from ..data import Mention, Sentence, Span
from ..formats.name_lines import PUBLIC_NAMES, read_names

_WORD = re.compile(r"\w+|[^\w\s]")

Key = tuple[str, ...]
_K = TypeVar("_K")
_V = TypeVar("_V")


_WORDS = (
    "a about above after again against all also although am among an and any are as at be because been "
    "before being below between both but by can could did do does done down during each either few for "
    "from had has have having he her here him his how i if in into is it its just least less many may me "
    "might more most much must my neither no nor not of off on once only or other others our out over own "
    "per same shall she should since so some such than that the their them then there these they this "
    "those though through to too under unless until up upon us very via was we were what when where "
    "whereas whether which while who whom whose why will with within without would yes you your "
)
_FUNCTION_WORDS = frozenset(_WORDS.split())
_FEW_LETTERS = 2


def key_of(name: str) -> Key:
    """The words in lower case, which is how names are compared; a name that may be a word keeps its case.

    Example: "Beta-blockers" -> ("beta", "-", "blockers"); "NO" (nitric oxide) -> ("NO",)
    """
    words = tuple(_WORD.findall(name.lower()))
    return tuple(_WORD.findall(name)) if len(words) == 1 and may_be_word(words) else words


def may_be_word(key: Key) -> bool:
    """Whether a name may as well be no name at all: it has a letter or two, or only function words.

    What one of its places is says nothing about the others. Example: ("NO",), ("by",), ("K",)
    """
    letters = "".join(key)
    if sum(map(str.isalnum, letters)) <= _FEW_LETTERS:
        return True
    return all(word.lower() in _FUNCTION_WORDS or not word.isalnum() for word in key)


class _Branch(dict[_K, _V]):
    """A dictionary that looks up in its trunk what it lacks; `ChainMap` takes several times as long.

    none: the value of a key that is in neither.
    """

    def __init__(self, trunk: _Branch[_K, _V] | None, none: _V) -> None:
        self._trunk, self._none = trunk, none

    def __missing__(self, key: _K) -> _V:
        return self._none if self._trunk is None else self._trunk[key]


class Lexicon:
    """names: key -> entity type, "" for a forgotten name. Matching is by `key_of`."""

    def __init__(self, names: Mapping[Key, str] | None = None) -> None:
        self.names = _Branch[Key, str](None, "")
        # first word -> number of words of the longest name that begins with it
        self._n_words = _Branch[str, int](None, 0)
        for key, entity_type in (names or {}).items():
            self.add(key, entity_type)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], types: Collection[str]) -> Lexicon:
        """The names of these types, from pairs of name and type."""
        return cls({key_of(name): kind for name, kind in pairs if kind in types})

    def branch(self) -> Lexicon:
        """A lexicon that begins with these names; what it learns stays its own."""
        branch = Lexicon()
        branch.names, branch._n_words = _Branch(self.names, ""), _Branch(self._n_words, 0)
        return branch

    def add(self, key: Key, entity_type: str) -> None:
        """Add a name, or change its type."""
        self.names[key] = entity_type
        first = key[0].lower()
        self._n_words[first] = max(len(key), self._n_words[first])

    def learn(self, sentence: Sentence) -> None:
        """Add the names that are marked in a sentence; forget those that occur in it unmarked."""
        marked = {(m.start, m.end) for m in sentence.mentions}
        for found in self.tag(sentence.text):
            if (found.start, found.end) not in marked:
                self.names[key_of(found.text)] = ""
        for mention in sentence.mentions:
            key = key_of(mention.text)
            if key:
                self.add(key, mention.type)

    def tag(self, text: str) -> list[Mention]:
        """The longest names in the text, from left to right and disjoint, as mentions."""
        places = [m.span() for m in _WORD.finditer(text)]
        words = [text[start:end] for start, end in places]
        found: list[Mention] = []
        at = 0
        while at < len(words):
            n, kind = self._longest_match(words, at)
            if n:
                start, end = places[at][0], places[at + n - 1][1]
                found.append(Mention((Span(start, end),), kind, text[start:end]))
            at += max(n, 1)
        return found

    def _longest_match(self, words: Sequence[str], at: int) -> tuple[int, str]:
        """The number of words of the longest name from a word on, and its type; (0, "") if there is none."""
        for n in range(min(self._n_words[words[at].lower()], len(words) - at), 0, -1):
            kind = self.names[tuple(map(str.lower, words[at : at + n])) if n > 1 else key_of(words[at])]
            if kind:
                return n, kind
        return 0, ""


def public_names(types: Collection[str]) -> Lexicon:
    """The drug names that ship with the package, of these types (see `templates/names/README.md`).

    12,153 of them, read in 30 ms. On DDI devel, with the bundled model in llama.cpp and drafts of 12 tokens,
    they save 4 % of the passes and 2 % of the tokens of a sentence, and 3 % of the time.
    """
    return Lexicon.of(read_names(PUBLIC_NAMES), types)
