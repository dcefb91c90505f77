"""Cutting texts into windows: nothing lost, nothing empty, at white space, and in linear time."""

from __future__ import annotations

import pytest
from hard_texts import HARD_TEXTS, texts
from hypothesis import example, given
from hypothesis import strategies as st

from constrained_ner.constraint.edges import edges
from constrained_ner.text.windows import cut_near, cut_near_middle, windows

WORDS = "Patients on aspirin should not take warfarin, iron or beta-blockers without good reason."


class Counter:
    """Counts tokens, and the characters that were looked at to do so."""

    def __init__(self, characters_a_token: int = 1) -> None:
        self.characters_a_token = characters_a_token
        self.n_characters = self.n_calls = 0

    def __call__(self, text: str) -> int:
        self.n_characters += len(text)
        self.n_calls += 1
        return -(-len(text.encode(errors="replace")) // self.characters_a_token)


def cut(text: str, count: Counter, most: int = 12, size: int = 8) -> list[str]:
    return list(windows(text, count, most=most, size=size))


long_texts = st.one_of(
    texts,
    st.lists(texts, max_size=30).map("".join),
    st.lists(texts, max_size=30).map(" ".join),
    st.tuples(
        st.sampled_from([" ", "a", "💊", "\n ", "aspirin ", "a. ", "x" * 70 + " "]), st.integers(1, 400)
    ).map(lambda pair: pair[0] * pair[1]),
)


@given(long_texts, st.integers(1, 30), st.integers(0, 20), st.integers(1, 6))
@example(" " + "a" * 2000, 8, 4, 1)
@example("a " + "a" * 2000 + " a", 8, 4, 1)
def test_pieces_are_the_text_and_none_is_empty_and_it_takes_linear_time(
    text: str, size: int, spare: int, characters_a_token: int
) -> None:
    count = Counter(characters_a_token)
    pieces = cut(text, count, size + spare, size)
    assert "".join(pieces) == text
    assert all(pieces) or pieces == [""]
    # Every piece is cut from what was looked at for it, and no more than that is ever looked at.
    assert len(pieces) == 1 or all(len(piece) <= 8 * size for piece in pieces)
    assert count.n_characters <= 8 * (size + spare) + count.n_calls * 8 * size
    assert count.n_characters <= 150 * (len(text) + 1)


@pytest.mark.parametrize("characters_a_token", [1, 3, 8])
@pytest.mark.parametrize("word", ["aspirin ", "a", "💊", "one sentence. ", "\n", "é-"])
def test_twice_the_text_is_twice_the_work(word: str, characters_a_token: int) -> None:
    costs = []
    for n in (2000, 4000):
        count = Counter(characters_a_token)
        cut(word * n, count, 96, 64)
        costs.append(count.n_characters)
    assert costs[1] <= 2.2 * costs[0]


@given(long_texts, st.integers(1, 8), st.integers(1, 30))
def test_a_text_that_fits_is_left_whole(text: str, characters_a_token: int, size: int) -> None:
    most = max(size, Counter(characters_a_token)(text))
    assert cut(text, Counter(characters_a_token), most, size) == [text]


@pytest.mark.parametrize(("most", "size"), [(60, 40), (90, 60), (300, 200)])
def test_windows_of_running_text_fit_and_end_at_white_space(most: int, size: int) -> None:
    text = " ".join([WORDS] * 100)
    pieces = cut(text, Counter(4), most, size)
    assert len(pieces) > 5
    assert all(Counter(4)(piece) <= most for piece in pieces)
    assert all(piece[-1].isspace() for piece in pieces[:-1])
    # Not much more of them than needed: each has about the size that was wanted.
    assert len(pieces) <= 1 + 2 * Counter(4)(text) // size


def test_the_last_windows_share_what_is_left() -> None:
    """Not one full window and a scrap."""
    pieces = cut("word " * 26, Counter(5), 25, 20)
    assert [len(piece) // 5 for piece in pieces] == [13, 13]


def test_the_end_of_a_sentence_is_preferred() -> None:
    text = "It was aspirin. It was not iron, nor was it zinc at all"
    assert text[: cut_near(text, 18)] == "It was aspirin. "
    assert text[: cut_near(text, 50)] == "It was aspirin. It was not iron, nor was it zinc "


@given(long_texts, st.integers(-3, 500))
def test_a_cut_is_inside(text: str, place: int) -> None:
    found = cut_near(text, place)
    if len(text) < 2:
        assert found is None
    else:
        assert found is not None
        assert 0 < found < len(text)
        if any(character.isspace() for character in text[:-1]):
            assert text[found - 1].isspace()


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_a_cut_in_the_middle_is_at_white_space_or_where_a_tag_may_be(text: str) -> None:
    at = cut_near_middle(text)
    if at is None:
        assert len(text) < 2
        return
    if not text[at - 1].isspace():
        assert not any(character.isspace() for character in text[:-1])
        assert edges(text)[at] or not any(edges(text)[1:-1])
