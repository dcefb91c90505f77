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
        ("an\u00b9", [OPEN, 0, BOTH, CLOSE]),  # raised: a reference to a note
        ("an\u00b9\u00b2", [OPEN, 0, BOTH, 0, CLOSE]),
        ("an\u00aa", [OPEN, 0, BOTH, CLOSE]),
        ("H\u2082O", [OPEN, BOTH, BOTH, CLOSE]),
        ("B\u2081\u2082", [OPEN, BOTH, 0, CLOSE]),
        ("Ca\u00b2\u207a", [OPEN, 0, BOTH, BOTH, CLOSE]),  # a raised sign is no letter, like "+"
        ("an\u2122", [OPEN, 0, BOTH, CLOSE]),
        ("an\u00ae", [OPEN, 0, BOTH, CLOSE]),
        ("an\u2020", [OPEN, 0, BOTH, CLOSE]),
        ("an*", [OPEN, 0, BOTH, CLOSE]),
        ("IL\u03b1", [OPEN, 0, BOTH, CLOSE]),
        ("\u03b1\u03b2", [OPEN, 0, CLOSE]),  # a Greek word
        ("\u03b1\u0301\u03b2", [OPEN, 0, 0, CLOSE]),
        ("\u00b5g", [OPEN, BOTH, CLOSE]),
        ("1\u0301a", [OPEN, 0, 0, CLOSE]),
        ("\u0301a", [OPEN, 0, CLOSE]),
        ("\u0645\u06cc\u200c\u062e", [OPEN, 0, 0, 0, CLOSE]),  # a joiner inside a Persian word
        ("\u1112\u1161\u11ab", [OPEN, 0, 0, CLOSE]),  # one Hangul syllable in three letters
        ("a\u00adb", [OPEN, BOTH, BOTH, CLOSE]),
        ("a\u200bb", [OPEN, BOTH, BOTH, CLOSE]),
        ("\u2167\u2161", [OPEN, 0, CLOSE]),  # Roman numerals
        ("\u0661\u0662a", [OPEN, 0, 0, CLOSE]),  # Arabic digits
        ("\x00a\x00", [OPEN, BOTH, BOTH, CLOSE]),
        ("a\tb", [OPEN, CLOSE, OPEN, CLOSE]),
    ],
)
def test_words(text: str, flags: list[int]) -> None:
    assert list(edges(text)) == flags


def test_characters() -> None:
    assert list(edges("ab c", "char")) == [OPEN, BOTH, CLOSE, OPEN, CLOSE]


def kind(text: str, place: int) -> str | None:
    """What kind of letter or digit is at a place; None for what is neither."""
    character = text[place]
    if unicodedata.category(character).startswith("M") or character in "\u200c\u200d":
        return (kind(text, place - 1) if place else None) or "plain"
    if not character.isalnum():
        return None
    if unicodedata.decomposition(character).split(" ")[0] in ("<super>", "<sub>"):
        return "raised"
    is_greek = unicodedata.name(character, "").split(" ")[0] in ("GREEK", "MICRO")
    return "Greek" if is_greek else "plain"


@given(texts, boundaries)
def test_every_place_follows_the_rule(text: str, boundary: Boundary) -> None:
    flags = edges(text, boundary)
    assert len(flags) == len(text) + 1
    for place, flag in enumerate(flags):
        before, after = text[:place][-1:], text[place:][:1]
        inside = before and after and kind(text, place) is not None
        cuts = boundary == "word" and inside and kind(text, place - 1) == kind(text, place)
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
