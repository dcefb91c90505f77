"""What offsets count is found on the whole file, and never guessed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Span
from constrained_ner.errors import InputError
from constrained_ner.formats.units import (
    UNITS,
    Claim,
    Counting,
    Pieces,
    as_code_points,
    countings,
    detect,
    length,
)

PATH = Path("file.ann")
TEXT = "Öl, 5 µg 😀\r\naspirin, iron and Aspirin"


def claims_in(text: str, names: Iterable[str], counting: Counting) -> list[Claim]:
    """The claims of a file that counts so, of the first occurrence of each name."""
    return [Claim(text, pieces(text, text.index(name), name, counting), name) for name in names]


def pieces(text: str, start: int, name: str, counting: Counting) -> Pieces:
    first = length(text[:start], counting.unit)
    end = length(text[: start + len(name)], counting.unit)
    return ((first + counting.first, end + counting.first - counting.inclusive),)


@pytest.mark.parametrize("counting", countings(), ids=str)
def test_every_convention_is_found(counting: Counting) -> None:
    told: list[str] = []
    claims = claims_in(TEXT, ["Öl", "5 µg", "aspirin", "iron", "Aspirin"], counting)
    found = detect(PATH, countings(), lambda: claims, told.append)
    assert found == counting
    assert [found.spans(claim) for claim in claims][2] == (Span(12, 19),)
    assert bool(told) == (counting != Counting())
    assert all(str(counting) in line and "file.ann" in line for line in told)


def test_the_rule_stands_although_one_name_differs() -> None:
    told: list[str] = []
    claims = [*claims_in(TEXT, ["aspirin", "iron"], Counting()), Claim(TEXT, ((4, 8),), "5 ug")]
    assert detect(PATH, countings(), lambda: claims, told.append) == Counting()
    assert not told


def test_names_that_are_nowhere_tell_nothing() -> None:
    claims = [Claim(TEXT, ((4, 8),), "zinc"), Claim(TEXT, ((1, 2),), "gold"), Claim(TEXT, ((0, 1),), "l")]
    assert detect(PATH, countings(), lambda: claims, print) == Counting()


def test_two_conventions_that_fit_equally_are_not_chosen_from() -> None:
    claims = [
        Claim("xbbx", ((2, 2),), "b")
    ]  # the second "b" if the end is the last character, the first from 1
    known = [Counting(), Counting(first=1, inclusive=True), Counting(inclusive=True)]
    with pytest.raises(InputError, match=r"^file.ann: cannot tell .* ends count the last one in, and as"):
        detect(PATH, known, lambda: claims, print)


def test_a_convention_that_loses_what_the_rule_fits_is_not_taken() -> None:
    names = ["aspirin", "iron", "Aspirin"]
    claims = claims_in(TEXT, names[:1], Counting()) + claims_in(TEXT, names, Counting(inclusive=True))
    assert detect(PATH, countings(), lambda: claims, print) == Counting()


@given(st.text(), st.sampled_from(UNITS))
def test_offsets_of_all_characters_are_found_again(text: str, unit: str) -> None:
    for place in range(len(text) + 1):
        if text[place - 1 : place + 1] != "\r\n":  # one place, if the two count as one
            assert as_code_points(text, length(text[:place], unit), unit) == place
    assert as_code_points(text, length(text, unit) + 1, unit) is None
    assert as_code_points(text, -1, unit) is None


def test_no_offset_is_in_the_middle_of_a_character() -> None:
    assert as_code_points("😀a", 1, "UTF-16 units") is None
    assert as_code_points("😀a", 2, "UTF-16 units") == 1
