"""The edges of a text, where tags may be placed: the rule that keeps mentions whole words.

A mention starts and ends with a character that is not white space. With boundary "word", the default, neither
end is between two word characters: `beta|-|blockers` has edges inside, but none between its letters. With
boundary "char" a mention may start and end between any two characters.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal

Boundary = Literal["word", "char"]

OPEN, CLOSE = 1, 2  # flags of an edge: an opening tag, a closing tag may be placed there

_OTHER, _WORD, _SPACE, _LIMIT = range(4)  # kinds of characters; _LIMIT: before the first, after the last


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    # A combining mark belongs to the letter before it.
    return _WORD if character.isalnum() or unicodedata.category(character)[0] == "M" else _OTHER


_ASCII_KINDS = bytes(_kind(chr(code)) if code < 128 else _OTHER for code in range(256))


def _edge(before: int, after: int, boundary: Boundary) -> int:
    """The flags of the place between a character of one kind and one of another."""
    if boundary == "word" and before == after == _WORD:
        return 0
    opens = OPEN if after in (_OTHER, _WORD) else 0
    closes = CLOSE if before in (_OTHER, _WORD) else 0
    return opens | closes


_PAIRS = {
    boundary: bytes(_edge(pair >> 2, pair & 3, boundary) for pair in range(16))
    for boundary in ("word", "char")
}


def edges(text: str, boundary: Boundary = "word") -> bytes:
    """The OPEN and CLOSE flags of the place before each character, and of the end of the text.

    Example: list(edges("a b")) -> [OPEN, CLOSE, OPEN, CLOSE]
    """
    kinds = text.encode().translate(_ASCII_KINDS) if text.isascii() else bytes(map(_kind, text))
    limit = bytes([_LIMIT])
    allowed = _PAIRS[boundary]
    return bytes([allowed[b << 2 | a] for b, a in zip(limit + kinds, kinds + limit, strict=True)])
