from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.formats.numbered_names import NumberedNames


@given(st.lists(st.text("a-23", max_size=4)))
def test_each_name_is_given_once_and_keeps_its_beginning(names: list[str]) -> None:
    numbered = NumberedNames("-")
    given_names = [numbered.of(name) for name in names]
    assert len(set(given_names)) == len(names)
    assert all(given.startswith(name) for given, name in zip(given_names, names, strict=True))


def test_a_name_that_repeats_often_is_not_searched_for_from_the_beginning() -> None:
    numbered = NumberedNames("#")
    assert [numbered.of("a") for _ in range(50_000)][-1] == "a#50000"
