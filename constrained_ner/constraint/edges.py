"""The edges of a text, where tags may be placed: the rule that keeps mentions whole words.

A mention starts and ends with a character that is not white space. With boundary "word", the default, neither
end is between two letters or digits: `beta|-|blockers` has edges inside, but none between its letters. Greek
letters, and raised or lowered ones, part from others, because they often follow a name (`TNF|\u03b1`,
`aspirin|\u00b9`), but not from each other. A combining mark belongs to what it is written on. With boundary
"char" a mention may start and end between any two characters.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal

Boundary = Literal["word", "char"]

OPEN, CLOSE = 1, 2  # flags of an edge: an opening tag, a closing tag may be placed there

_OTHER, _WORD, _GREEK, _RAISED, _SPACE, _LIMIT, _MARK = range(7)
"""Kinds of characters.

_WORD: letters and digits. _GREEK: Greek letters. _RAISED: raised and lowered letters and digits.
_MARK: of the kind of what it is written on. _LIMIT: before the first, after the last.
"""
_OF_WORDS = (_WORD, _GREEK, _RAISED)


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    if unicodedata.category(character)[0] == "M" or character in "\u200c\u200d":
        return _MARK
    if not character.isalnum():
        return _OTHER
    if unicodedata.decomposition(character).startswith(("<super>", "<sub>")):
        return _RAISED
    return _GREEK if unicodedata.name(character, "").startswith(("GREEK", "MICRO SIGN")) else _WORD


def _kinds(text: str) -> bytes:
    if text.isascii():
        return text.encode().translate(_ASCII_KINDS)
    kinds = bytearray(map(_kind, text))
    before = _OTHER
    for n, kind in enumerate(kinds):
        if kind == _MARK:
            kinds[n] = before if before in _OF_WORDS else _WORD
        before = kinds[n]
    return bytes(kinds)


_ASCII_KINDS = bytes(_kind(chr(code)) if code < 128 else _OTHER for code in range(256))


def _edge(before: int, after: int, boundary: Boundary) -> int:
    """The flags of the place between a character of one kind and one of another."""
    if boundary == "word" and before == after and before in _OF_WORDS:
        return 0
    opens = OPEN if after not in (_SPACE, _LIMIT) else 0
    closes = CLOSE if before not in (_SPACE, _LIMIT) else 0
    return opens | closes


_PAIRS = {
    boundary: bytes(_edge(pair >> 3, pair & 7, boundary) for pair in range(64))
    for boundary in ("word", "char")
}


def edges(text: str, boundary: Boundary = "word") -> bytes:
    """The OPEN and CLOSE flags of the place before each character, and of the end of the text.

    Example: list(edges("a b")) -> [OPEN, CLOSE, OPEN, CLOSE]
    """
    kinds = _kinds(text)
    limit = bytes([_LIMIT])
    allowed = _PAIRS[boundary]
    return bytes([allowed[b << 3 | a] for b, a in zip(limit + kinds, kinds + limit, strict=True)])
