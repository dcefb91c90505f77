"""Mentions as tags of tokens: IOB1, IOB2, IOBES and BILUO, read by one rule and written as IOB2.

A mention begins at B, S or U, and at I, E, L or M after a token of no or another type; it goes on at I, E, L
and M, and ends after E, L, S and U. In files that keep to any of the four notations this is their meaning
(Tjong Kim Sang and Veenstra 1999, and the rule of conlleval for IOB1 and IOB2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .protocol import UNTYPED

_TAG = re.compile(r"([BIESLUM])(?:[-_](.*))?", re.DOTALL)
_OUTSIDE = ("O", "", "_", "-")
_OPENING, _CLOSING = "BSU", "ESLU"


class TaggedName(NamedTuple):
    """A mention as a range of tokens, half-open."""

    first: int
    end: int
    type: str


def is_tag(value: str) -> bool:
    """Whether a value can be the tag of a token. Example: "O", "B-drug", "I"."""
    return value == "O" or _TAG.fullmatch(value) is not None


def tagged_names(tags: Iterable[str]) -> Iterator[TaggedName]:
    """The mentions of a sentence. Raises ValueError naming a tag that is none.

    Example: ["I-PER", "I-PER", "B-PER", "O"] -> (0, 2, "PER"), (2, 3, "PER")
    """
    first, type = 0, None
    n = -1
    for n, tag in enumerate(tags):
        match = _TAG.fullmatch(tag)
        if match is None and tag not in _OUTSIDE:
            raise ValueError(f"{tag!r:.60} is not a tag such as B-drug, I-drug or O")
        here = None if match is None else match[2] or UNTYPED
        opens = match is not None and match[1] in _OPENING
        if type is not None and (opens or here != type):
            yield TaggedName(first, n, type)
            type = None
        if match is None:
            continue
        if type is None:
            first, type = n, here
        if match[1] in _CLOSING:
            yield TaggedName(first, n + 1, type or UNTYPED)
            type = None
    if type is not None:
        yield TaggedName(first, n + 1, type)


def iob2(n_tokens: int, names: Iterable[TaggedName]) -> list[str]:
    """The tags of a sentence whose mentions do not overlap.

    Example: (3, [(1, 3, "drug")]) -> O B-drug I-drug
    """
    tags = ["O"] * n_tokens
    for name in names:
        tags[name.first : name.end] = [f"B-{name.type}"] + [f"I-{name.type}"] * (name.end - name.first - 1)
    return tags
