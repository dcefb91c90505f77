"""A text as alignment compares it: without white space and case, split into words and punctuation."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..data import Span

# A combining accent belongs to its word: "e" + U+0301 is one letter.
_TOKEN = re.compile(r"[\w\u0300-\u036f]+|\S")


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a punctuation mark; start and end count inked characters."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Inked:
    """A text's ink (all but white space, without case), and the way back to positions in the text.

    The tokens cover the ink without gaps.
    """

    text: str
    ink: str
    positions: Sequence[int]  # of each inked character in the text
    ranks: Sequence[int]  # number of inked characters before each position of the text, and in all of it
    tokens: Sequence[Token]

    @classmethod
    def of(cls, text: str) -> Inked:
        folded = text.casefold()
        if len(folded) != len(text):  # some characters fold to several: these stay as they are
            folded = "".join(f if len(f := c.casefold()) == 1 else c for c in text)
        positions = [i for i, c in enumerate(text) if not c.isspace()]
        ranks = [0, *accumulate(not c.isspace() for c in text)]
        tokens = [
            Token(folded[m.start() : m.end()], ranks[m.start()], ranks[m.end()])
            for m in _TOKEN.finditer(text)
        ]
        return cls(text, "".join(folded.split()), positions, ranks, tokens)

    def rank(self, position: int) -> int:
        return self.ranks[min(position, len(self.text))]

    def span(self, start: int, end: int) -> Span:
        """The span of the text under these inked characters: no white space at its ends."""
        return Span(self.positions[start], self.positions[end - 1] + 1)

    def tokens_under(self, start: int, end: int) -> range:
        """The indices of the tokens that share a character with this stretch of the ink."""
        first = bisect_right(self.tokens, start, key=lambda token: token.end)
        return range(first, bisect_left(self.tokens, end, key=lambda token: token.start))
