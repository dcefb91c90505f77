"""Where tags may be placed."""

from __future__ import annotations

import unicodedata

import pytest
from hard_texts import boundaries, texts
from hypothesis import given

from constrained_ner.constraint.edges import CLOSE, OPEN, Boundary, edges

BOTH = OPEN | CLOSE


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", [0]),
        (" ", [0, 0]),
        ("a", [OPEN, CLOSE]),
        ("a b", [OPEN, CLOSE, OPEN, CLOSE]),
        ("ab", [OPEN, 0, CLOSE]),
        ("a-b", [OPEN, BOTH, BOTH, CLOSE]),
        ("a1", [OPEN, 0, CLOSE]),
        ("a_b", [OPEN, BOTH, BOTH, CLOSE]),
        ("(a) ", [OPEN, BOTH, BOTH, CLOSE, 0]),
        ("e\u0301a", [OPEN, 0, 0, CLOSE]),
        ("\u00a0a\n", [0, OPEN, CLOSE, 0]),
        ("\U0001f48aa", [OPEN, BOTH, CLOSE]),
        ("阿司", [OPEN, 0, CLOSE]),
    ],
)
def test_words(text: str, flags: list[int]) -> None:
    assert list(edges(text)) == flags


def test_characters() -> None:
    assert list(edges("ab c", "char")) == [OPEN, BOTH, CLOSE, OPEN, CLOSE]


def is_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


@given(texts, boundaries)
def test_every_place_follows_the_rule(text: str, boundary: Boundary) -> None:
    flags = edges(text, boundary)
    assert len(flags) == len(text) + 1
    for place, flag in enumerate(flags):
        before, after = text[:place][-1:], text[place:][:1]
        cuts = boundary == "word" and before and after and is_word(before) and is_word(after)
        assert bool(flag & OPEN) == bool(after and not after.isspace() and not cuts)
        assert bool(flag & CLOSE) == bool(before and not before.isspace() and not cuts)


@given(texts, boundaries)
def test_every_place_to_open_has_its_own_later_place_to_close(text: str, boundary: Boundary) -> None:
    flags = edges(text, boundary)
    opens = [place for place, flag in enumerate(flags) if flag & OPEN]
    closes = [place for place, flag in enumerate(flags) if flag & CLOSE]
    assert len(opens) == len(closes)
    assert all(start < end for start, end in zip(opens, closes, strict=True))
    assert all(end <= start for end, start in zip(closes, opens[1:], strict=False))
