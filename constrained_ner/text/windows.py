"""Where to cut a text that is too long for a model's context."""

from __future__ import annotations

from ..constraint.edges import CLOSE, OPEN, edges


def cut_near_middle(text: str) -> int | None:
    """Where to cut a text in two: after the white space nearest to the middle, else where a tag may stand.

    None for a single character.
    """
    middle = len(text) // 2
    after_space = [n + 1 for n, character in enumerate(text[:-1]) if character.isspace()]
    places = edges(text)
    at_edge = [n for n in range(1, len(text)) if places[n] & (OPEN | CLOSE)]
    candidates = after_space or at_edge or range(1, len(text))
    return min(candidates, key=lambda n: abs(n - middle), default=None)
