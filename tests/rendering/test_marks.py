"""A text with marks as HTML: to the character, well nested, and nothing of it interpreted."""

from __future__ import annotations

from html.parser import HTMLParser
from random import Random

from hard_texts import random_mentions, texts
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.rendering.marks import (
    VERDICTS,
    Mark,
    details,
    label,
    marked_html,
    percent,
    shade_of,
    type_numbers,
)
from constrained_ner.rendering.view import View
from constrained_ner.rendering.visible import escaped

TYPES = {"drug": 0, "brand": 1, "group": 2, "drug_n": 3}


class Reader(HTMLParser):
    """The words of a piece of HTML without its labels, and whether its elements are well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.elements: set[str] = set()
        self.opened: list[str] = []
        self.marked: dict[str, str] = {}
        self._numbers: list[str] = []
        self.feed(html)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.opened.append(tag)
        if tag == "mark":
            self._numbers.append(dict(attrs).get("data-m") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag
        if tag == "mark":
            self._numbers.pop()

    def handle_data(self, data: str) -> None:
        if "small" in self.opened:
            return
        self.words += data
        for number in self._numbers:
            self.marked[number] = self.marked.get(number, "") + data


def shown(text: str) -> str:
    return "".join(c if c in "\n\t" else escaped(c) for c in text)


@given(texts, st.integers())
def test_the_text_is_there_to_the_character_and_elements_are_nested(text: str, seed: int) -> None:
    mentions = random_mentions(Random(seed), text, list(TYPES), "word")
    marks = [Mark(mention, number=n) for n, mention in enumerate(mentions)]
    reader = Reader(marked_html(text, marks, TYPES))
    assert reader.words == shown(text)
    assert reader.elements <= {"mark", "small", "span"}


@given(texts, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=6))
def test_marks_that_cross_cover_what_they_name(text: str, places: list[tuple[int, int]]) -> None:
    marks = [
        Mark(Mention((Span(start, start + length),), "drug", "x"), number=n)
        for n, (start, length) in enumerate(places)
    ]
    reader = Reader(marked_html(text, marks, TYPES))
    assert reader.words == shown(text)
    for mark in marks:
        piece = text[mark.mention.start : mark.mention.end]
        assert reader.marked.get(str(mark.number), "") == shown(piece)


def test_only_the_last_piece_of_a_name_has_its_type() -> None:
    gap = Mark(Mention((Span(0, 5), Span(15, 20)), "group", "cough drugs"))
    html = marked_html("cough and cold drugs", [gap], TYPES)
    assert html.count("<small> group</small>") == 1
    assert html.count("<small>…</small>") == 2
    assert html.startswith('<mark class="t2 s5"')


def test_a_mark_says_what_became_of_it() -> None:
    found = Mention((Span(0, 4),), "brand", "iron", 0.5, "constrained")
    gold = Mention((Span(0, 4),), "drug", "iron")
    assert label(Mark(found)) == "brand"
    assert label(Mark(found, "type", gold, "gold")) == "≠ brand (gold drug)"
    assert label(Mark(gold, "missed")) == "− drug"
    assert details(Mark(found, "type", gold, "gold")).split("\n") == [
        "iron: brand",
        "another type",
        "gold: iron (drug)",
        "confidence 50.0 %",
        "constrained: offsets exact by construction",
        "characters 0–4",
    ]
    assert len({sign + meaning for sign, meaning in VERDICTS.values()}) == len(VERDICTS)


def test_shades_follow_confidence_and_the_rest_is_never_100_percent() -> None:
    assert [shade_of(c) for c in (None, 0.0, 0.49, 0.5, 0.7, 0.9, 0.97, 1.0)] == [5, 1, 1, 2, 3, 4, 5, 5]
    assert percent(0.9731) == "97.3 %"
    assert percent(0.99999) == "over 99.9 %"
    assert percent(1.0) == "100.0 %"


def test_known_types_keep_their_colours() -> None:
    assert type_numbers(["zoo", "drug", "ape"], ["drug", "brand"]) == {
        "drug": 0,
        "brand": 1,
        "ape": 2,
        "zoo": 3,
    }


def test_a_page_of_a_running_text_leaves_nothing_out() -> None:
    text = "  Aspirin.\n\nTake iron. "
    iron = Mention((Span(5, 9),), "drug_n", "iron")
    sentences = (Sentence("d.s0", "Aspirin.", start=2), Sentence("d.s1", "Take iron.", (iron,), start=12))
    (section,) = View.of_documents("t", [Document("d", sentences, text)]).sections
    assert "".join(row.text for row in section.rows) == text
    (mark,) = section.rows[1].sides[0]
    assert section.rows[1].text[mark.mention.start : mark.mention.end] == "iron"
