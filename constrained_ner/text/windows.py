"""Cutting a text that is too long for a model's context into windows, in linear time and bounded memory.

A word that is longer than a window is cut like everything else: each part is shown to the model as a word of
its own. What is found there is no whole word, and is left out when the windows are joined (see
`annotation/result.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..constraint.edges import CLOSE, OPEN, Boundary, edges

_SPACE = re.compile(r"\s")
_SENTENCE_END = re.compile(r"[.!?;:]\s+")
_LONGEST_TOKEN = 8  # characters, on average over a text: how far to look ahead for one window
_NEARBY = 256  # characters on either side of a place without white space where a word's edge is looked for


def windows(
    text: str, count: Callable[[str], int], *, most: int, size: int, boundary: Boundary = "word"
) -> Iterator[str]:
    """The text in pieces, one after the other: the text itself if it has no more than `most` tokens.

    count: the number of tokens of a piece. size: tokens that a window should have if there are several; no
    more than `most`. The last windows share what is left evenly. No window is empty unless the text is.
    """
    if len(text) <= _LONGEST_TOKEN * most and count(text) <= most:
        yield text
        return
    at = 0
    n_looked_at = _LONGEST_TOKEN * size
    while True:
        piece = text[at : at + n_looked_at]
        n_tokens = max(count(piece), 1)
        is_last = at + len(piece) == len(text)
        n_windows = -(-n_tokens // size)
        share = 1 / n_windows if is_last else min(1.0, size / n_tokens)
        end = None if is_last and n_windows == 1 else cut_near(piece, int(len(piece) * share), boundary)
        if end is None:
            yield piece
            return
        yield piece[:end]
        at += end


def cut_near_middle(text: str, boundary: Boundary = "word") -> int | None:
    """Where to cut a text in two; None for a single character."""
    return cut_near(text, len(text) // 2, boundary)


def cut_near(text: str, place: int, boundary: Boundary = "word") -> int | None:
    """Where to cut a text near a place; None for a single character.

    That is after the end of a sentence or clause if one is not too far, else after the nearest white space,
    else where a tag may be, else between any two characters.
    """
    if len(text) < 2:
        return None
    place = min(max(place, 1), len(text) - 1)
    reach = place // 3
    ends = (m.end() for m in _SENTENCE_END.finditer(text, place - reach, min(place + reach, len(text) - 1)))
    if end := min(ends, key=lambda n: abs(n - place), default=None):
        return end
    before = next((n for n in range(place, 0, -1) if text[n - 1].isspace()), None)
    after = _SPACE.search(text, place, len(text) - 1)
    cuts = [n for n in (before, after and after.end()) if n]
    return min(cuts, key=lambda n: abs(n - place), default=None) or _cut_at_edge(text, place, boundary)


def _cut_at_edge(text: str, place: int, boundary: Boundary) -> int:
    start = max(0, place - _NEARBY)
    allowed = edges(text[start : place + _NEARBY], boundary)
    at_edge = [
        start + n for n in range(1, len(allowed) - 1) if allowed[n] & (OPEN | CLOSE) and start + n < len(text)
    ]
    return min(at_edge, key=lambda n: abs(n - place), default=place)
