"""The elements of a JSON array in an answer of which nothing is sure, up to the first damage."""

from __future__ import annotations

import json
from typing import Any


def elements(answer: str) -> tuple[list[Any], bool]:
    """The elements that are intact, and whether the array is there and complete.

    What comes before and after the array does not matter.

    Example: 'Names: [{"name": "iron"}, {"na' -> [{"name": "iron"}], False
    """
    at = answer.find("[") + 1
    found: list[Any] = []
    if not at:
        return found, False
    decoder = json.JSONDecoder()
    while True:
        at = _after_blanks(answer, at)
        if answer[at : at + 1] == "]" and not found:
            return found, True
        try:
            element, at = decoder.raw_decode(answer, at)
        except (ValueError, RecursionError):  # a number of 5,000 digits is a ValueError, too
            return found, False
        found.append(element)
        at = _after_blanks(answer, at)
        if answer[at : at + 1] != ",":
            return found, answer[at : at + 1] == "]"
        at += 1


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t", "\n", "\r"}:
        at += 1
    return at
