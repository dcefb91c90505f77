"""Cutting running text into sentences: nothing lost, nothing cut that must stay whole, in linear time."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hard_texts import texts
from hypothesis import example, given
from hypothesis import strategies as st
from sentencex import get_sentence_boundaries

from constrained_ner.annotation.lexicon import Lexicon, public_names
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.text import sentences as sentences_module
from constrained_ner.text.sentences import in_sentences, sentence_spans

BLANK_LINE = re.compile(r"\u2029|(?:\r\n|[\r\n\x85\u2028])[^\S\r\n]*[\r\n\x85\u2028]")
any_texts = st.one_of(
    texts,
    st.lists(texts, max_size=20).map(". ".join),
    st.text(st.characters(), max_size=40),  # lone surrogates, too
    st.lists(
        st.sampled_from(
            [
                *("Take it", " i.v.", "Vitamin A", "vs.", "St.", "3.5", "x" * 999, "\ud800", "💊", "。"),
                *(". ", "; ", "? ", "!", ")", "(", '"', " ", "\t", "\x1c"),
                *("\n", "\r\n", "\r", "\n\n", "\x85", "\u2028", "\u2029"),
            ]
        ),
        max_size=40,
    ).map("".join),
)


def spans_in(text: str, chance: random.Random) -> list[Span]:
    places = [sorted((chance.randint(0, len(text)), chance.randint(0, len(text)))) for _ in range(5)]
    return [Span(start, end) for start, end in places if start < end]


def cut(text: str, uncut: list[Span] | None = None) -> list[str]:
    return [text[span.start : span.end] for span in sentence_spans(text, uncut or [])]


@given(any_texts)
@example("\ud800. A")
@example("?)" * 5000)
def test_sentences_cover_all_but_blanks_in_order(text: str) -> None:
    at = 0
    for span in sentence_spans(text):
        assert span.start >= at
        assert not text[at : span.start].strip()
        sentence = text[span.start : span.end]
        assert sentence == sentence.strip() != ""
        at = span.end
    assert not text[at:].strip()


@given(any_texts, st.randoms(use_true_random=False))
def test_uncut_spans_stay_whole_except_at_blank_lines(text: str, chance: random.Random) -> None:
    uncut = spans_in(text, chance)
    sentences = sentence_spans(text, uncut)
    for span in uncut:
        name = text[span.start : span.end]
        start, end = span.end - len(name.lstrip()), span.start + len(name.rstrip())
        whole = any(s.start <= start and end <= s.end for s in sentences)
        assert whole or start >= end or BLANK_LINE.search(name)


@given(any_texts, any_texts)
def test_blank_lines_always_cut(first: str, second: str) -> None:
    joined = first + "\n\n" + second
    offset = len(joined) - len(second)
    moved = [Span(s.start + offset, s.end + offset) for s in sentence_spans(second)]
    assert sentence_spans(joined) == [*sentence_spans(first), *moved]
    for sentence in sentence_spans(joined, [Span(0, len(joined))]):
        assert not sentence.start < len(first) < sentence.end


@given(any_texts, st.randoms(use_true_random=False))
def test_mentions_come_back_at_their_place_or_are_left_over(text: str, chance: random.Random) -> None:
    mentions = [Mention((span,), "drug", text[span.start : span.end]) for span in spans_in(text, chance)]
    sentences, left_over = in_sentences("d", text, mentions)
    assert [s.id for s in sentences] == [f"d.s{n}" for n in range(len(sentences))]
    moved = [m.moved(s.start) for s in sentences for m in s.mentions]
    assert sorted([*moved, *left_over], key=lambda m: m.spans) == sorted(mentions, key=lambda m: m.spans)
    for sentence in sentences:
        assert text[sentence.start :].startswith(sentence.text)
        assert all(sentence.text[m.start : m.end] == m.text for m in sentence.mentions)
    for mention in left_over:
        assert not any(s.start <= mention.start and mention.end <= s.start + len(s.text) for s in sentences)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n\t\n ", []),
        ("Aspirin", ["Aspirin"]),
        ("Take i.v. aspirin. Rest.", ["Take i.v. aspirin.", "Rest."]),
        (
            "Aspirin vs. Placebo (Smith et al. 2001). Next.",
            ["Aspirin vs. Placebo (Smith et al. 2001).", "Next."],
        ),
        ("It is 3.5 mg. Then 0.25 mg. ", ["It is 3.5 mg.", "Then 0.25 mg."]),
        ("Growth of P. aeruginosa. See Fig. 2.", ["Growth of P. aeruginosa.", "See Fig. 2."]),
        ('He said "Take it. Then rest" and left.', ['He said "Take it. Then rest" and left.']),
        ("Aspirin (Bayer. Then more) helps.", ["Aspirin (Bayer. Then more) helps."]),
        ("Hard\nwrapped text\nstays.", ["Hard\nwrapped text\nstays."]),
        ("HEADING\n\nText", ["HEADING", "Text"]),
        ("HEADING\r\n \t\r\nText", ["HEADING", "Text"]),
        ("One line\r\nnext", ["One line\r\nnext"]),
        (
            "- aspirin\n- warfarin\n\n1. Take it.\n2. Rest.",
            ["- aspirin", "- warfarin", "1. Take it.", "2. Rest."],
        ),
        (
            "Absorption of vitamin D. Reductions were seen.",
            ["Absorption of vitamin D.", "Reductions were seen."],
        ),
        ("For 12 h. Imipramine (as always.) Then.", ["For 12 h.", "Imipramine (as always.)", "Then."]),
        (
            "Aspirin; warfarin (10; 20), iron [a; b]; so.",
            ["Aspirin;", "warfarin (10; 20), iron [a; b];", "so."],
        ),
        ("An open ( bracket; more. Rest", ["An open ( bracket;", "more.", "Rest"]),
        ("アスピリン。ワルファリン。", ["アスピリン。", "ワルファリン。"]),
        ("A\x00b one. Two\x1b[0m three.", ["A\x00b one.", "Two\x1b[0m three."]),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


def test_a_known_name_is_not_cut() -> None:
    text = "Take Aspro. Clear daily. Rest."
    assert cut(text) == ["Take Aspro.", "Clear daily.", "Rest."]
    lexicon = Lexicon({("aspro", ".", "clear"): "brand"})
    assert cut(text, [m.spans[0] for m in lexicon.tag(text)]) == ["Take Aspro. Clear daily.", "Rest."]


def test_names_are_kept_whole_in_ddi(shared: Path) -> None:
    names = public_names(("drug", "brand", "group", "drug_n"))
    for document in read_ddi(shared / "data" / "ddi" / "train.xml")[:100]:
        text = " ".join(sentence.text for sentence in document)
        tagged = [m.spans[0] for m in names.tag(text)]
        ends = {span.end for span in sentence_spans(text, tagged)}
        assert not [name for name in tagged if any(name.start < end < name.end for end in ends)]


def test_a_sentence_longer_than_a_stretch_stays_whole() -> None:
    long = "Take aspirin, " * 1000 + "daily."
    assert cut(f"First. {long} Last.") == ["First.", long, "Last."]


def test_many_sentences_are_found_whatever_the_stretch_they_fall_into() -> None:
    sentences = [f"Patient {n} took {'aspirin ' * (n % 40)}i.v. and rested." for n in range(500)]
    assert cut(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "aspirin " * 125_000,
        "?)" * 50_000,
        "Rest. " * 50_000,
        "\n" * 10**6,
        '"' * 10**6,
        "(" * 10**6,
    ],
    ids=["letters", "words", "closed questions", "sentences", "line breaks", "quotes", "brackets"],
)
def test_the_library_sees_a_long_text_in_short_stretches(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def watched(language: str, stretch: str) -> list[dict[str, int]]:
        lengths.append(len(stretch))
        return get_sentence_boundaries(language, stretch)

    monkeypatch.setattr(sentences_module, "get_sentence_boundaries", watched)
    sentence_spans(text)
    assert max(lengths, default=0) <= 4_000  # some take it quadratic time
    assert sum(lengths) <= 3 * len(text)


def test_a_mention_across_a_cut_is_left_over() -> None:
    text = "Take aspirin. Warfarin helps."
    whole = Mention((Span(5, 12),), "drug", "aspirin")
    across = Mention((Span(5, 12), Span(14, 22)), "drug", "aspirin Warfarin")
    sentences, left_over = in_sentences("d1", text, [across, whole])
    assert sentences == (
        Sentence("d1.s0", "Take aspirin.", (whole,)),
        Sentence("d1.s1", "Warfarin helps.", start=14),
    )
    assert left_over == (across,)
