"""One name, one type in a document: by hand, and as properties of arbitrary documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.annotation.consistency import UNMARKED, consistent
from constrained_ner.annotation.lexicon import key_of
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.decoding.confidence import WORTH_KEEPING
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI

MARKUP = Markup(DDI)


def fits(sentence: Sentence) -> tuple[Mention, ...]:
    return tuple(MARKUP.expressible(sentence, "word")[0])


def marked(number: int, text: str, *found: tuple[str, str, float | None]) -> Sentence:
    """A sentence with mentions (name, type, confidence), each at the first place of its name."""
    mentions = []
    for name, kind, sure in found:
        start = text.index(name)
        span = Span(start, start + len(name))
        mentions.append(Mention((span,), kind, name, sure, "constrained"))
    return Sentence(f"d.s{number}", text).with_mentions(mentions)


def shown(sentences: list[Sentence]) -> list[list[tuple[str, str]]]:
    return [[(m.text, m.type) for m in s.mentions] for s in sentences]


def test_the_surer_type_is_that_of_all() -> None:
    document = [
        marked(0, "Advil helps.", ("Advil", "drug", 0.6)),
        marked(1, "Take Advil daily.", ("Advil", "brand", 0.9)),
        marked(2, "advil again", ("advil", "drug", 0.2)),
    ]
    found = consistent(document, fits)
    assert shown(found) == [[("Advil", "brand")], [("Advil", "brand")], [("advil", "brand")]]
    assert [m.confidence for s in found for m in s.mentions] == [pytest.approx(1.7 / 3)] * 3


def test_a_name_that_stands_unmarked_is_marked_there_too() -> None:
    document = [
        marked(0, "Iron and iron.", ("Iron", "drug", 0.9)),
        marked(1, "No ironing, please, but IRON.", ("please", "group", 0.9)),
    ]
    found = consistent(document, fits)
    assert shown(found) == [[("Iron", "drug"), ("iron", "drug")], [("please", "group"), ("IRON", "drug")]]
    iron = [m for s in found for m in s.mentions if m.type == "drug"]
    assert [m.provenance for m in iron] == ["constrained", "repeated", "repeated"]
    assert [m.confidence for m in iron] == [pytest.approx((0.9 + 2 * UNMARKED) / 3)] * 3


def test_a_name_that_is_marked_too_seldom_is_marked_nowhere() -> None:
    document = [marked(0, "The dose.", ("dose", "drug", 0.5)), marked(1, "A dose, a dose, any dose.")]
    assert shown(consistent(document, fits)) == [[], []]


def test_what_the_document_does_not_speak_against_stays_however_unsure() -> None:
    document = [marked(0, "Take iron.", ("iron", "drug", 0.1)), marked(1, "Nothing here.")]
    assert consistent(document, fits) == document
    assert shown(consistent(document, fits, min_confidence=0.2)) == [[], []]


def test_an_unmarked_name_inside_a_longer_mention_is_not_a_place_of_its_own() -> None:
    document = [
        marked(0, "Iron sulfate works.", ("Iron sulfate", "drug", 0.9)),
        marked(1, "Iron works.", ("Iron", "drug", 0.9)),
    ]
    assert consistent(document, fits) == document


def test_mentions_without_confidence_count_as_certain() -> None:
    document = [marked(0, "Take iron.", ("iron", "drug", None)), marked(1, "More iron.")]
    assert shown(consistent(document, fits)) == [[("iron", "drug")], [("iron", "drug")]]


def test_discontinuous_mentions_and_mentions_without_words_stay() -> None:
    apart = Mention((Span(0, 5), Span(10, 14)), "drug", "cough cold", 0.01)
    document = [Sentence("s", "cough and cold").with_mentions([apart])]
    assert consistent(document, fits, min_confidence=0.5) == document
    assert consistent([], fits) == []


def test_names_that_are_words_do_not_spread_and_case_counts() -> None:
    """NO is nitric oxide; "no" is not, and says nothing against NO."""
    document = [
        marked(0, "Synthesis of NO rises.", ("NO", "drug", 0.9)),
        marked(1, "Release of NO falls.", ("NO", "drug", 0.7)),
        marked(2, "There was no interaction, no effect and no NO."),
        marked(3, "No interaction."),
    ]
    found = consistent(document, fits)
    assert shown(found) == [[("NO", "drug")], [("NO", "drug")], [], []]
    assert [m.confidence for s in found for m in s.mentions] == [0.9, 0.7]


@pytest.mark.parametrize("word", ["by", "K", "As", "of the", "it"])
def test_words_and_names_of_two_letters_never_spread(word: str) -> None:
    document = [
        marked(0, f"Taken {word} once.", (word, "drug", 0.95)),
        marked(1, f"Given {word} then."),
        marked(2, f"{word.title()} them."),
    ]
    found = consistent(document, fits)
    assert shown(found) == [[(word, "drug")], [], []]


def test_a_wrong_function_word_is_outvoted() -> None:
    document = [marked(0, "Inhibited by it.", ("by", "drug", 0.6)), marked(1, "by him, by her, by us, by me")]
    assert shown(consistent(document, fits)) == [[], []]


def test_names_of_words_and_figures_still_spread() -> None:
    document = [marked(0, "Give 5-HT now.", ("5-HT", "drug_n", 0.9)), marked(1, "More 5-ht and no more.")]
    assert shown(consistent(document, fits)) == [[("5-HT", "drug_n")], [("5-ht", "drug_n")]]


WORDS = ("NO", "no", "Iron", "iron", "İron", "zinc", "beta-blocker", "of", ",", "ß", "<drug>")
NESTED = (*WORDS, "zinc oxide")


@st.composite
def documents(draw: st.DrawFn, words: Sequence[str] = NESTED) -> list[Sentence]:
    sentences = []
    some_words = st.lists(st.sampled_from(words), max_size=8)
    for number, parts in enumerate(draw(st.lists(some_words, max_size=5))):
        sentence = Sentence(f"d.s{number}", " ".join(parts))
        mentions, start = [], 0
        for part in parts:
            if part[0].isalpha() and draw(st.booleans()):
                kind = draw(st.sampled_from(["drug", "brand", "group"]))
                span = Span(start, start + len(part))
                mentions.append(Mention((span,), kind, part, draw(st.floats(0, 1)), "constrained"))
            start += len(part) + 1
        sentences.append(sentence.with_mentions(fits(sentence.with_mentions(mentions))))
    return sentences


@given(document=documents())
def test_every_name_has_one_type_and_is_marked_everywhere_or_nowhere(document: list[Sentence]) -> None:
    found = consistent(document, fits)
    types = defaultdict(set)
    for before, after in zip(document, found, strict=True):
        assert (after.id, after.text) == (before.id, before.text)
        assert after.mentions == fits(after)  # disjoint, on word edges, and the text is that of the span
        for m in after.mentions:
            types[key_of(m.text)].add(m.type)
            assert m.confidence is not None
            assert 0 <= m.confidence <= 1
            assert m.provenance == "constrained" or m.confidence >= WORTH_KEEPING
    assert all(len(kinds) == 1 for kinds in types.values())
    kept = [m.spans for s in found for m in s.mentions if m.provenance == "constrained"]
    assert len(kept) <= sum(len(s.mentions) for s in document)


@given(document=documents(WORDS))
def test_a_consistent_document_is_left_as_it_is(document: list[Sentence]) -> None:
    once = consistent(document, fits)
    twice = consistent(once, fits)
    assert shown(twice) == shown(once)


@given(document=documents(), data=st.data())
def test_the_order_of_the_sentences_does_not_matter(document: list[Sentence], data: st.DataObject) -> None:
    other = data.draw(st.permutations(document))
    by_id = {s.id: s for s in consistent(other, fits)}
    assert shown([by_id[s.id] for s in document]) == shown(consistent(document, fits))


def test_gold_of_train_is_almost_consistent_already(shared: Path) -> None:
    """The figures in the module's docstring: learnt from train, as everything is."""
    n_names = n_of_one_type = n_marked = n_unmarked = 0
    for document in read_ddi(shared / "data" / "ddi" / "train.xml"):
        counts: dict[tuple[str, ...], list[str]] = defaultdict(list)
        gold = [replace(s, mentions=fits(s)) for s in document]
        for mention in (m for s in gold for m in s.mentions):
            counts[key_of(mention.text)].append(mention.type)
        n_names += sum(len(kinds) > 1 for kinds in counts.values())
        n_of_one_type += sum(len(kinds) > 1 == len(set(kinds)) for kinds in counts.values())
        n_marked += sum(map(len, counts.values()))
        certain = [s.with_mentions(replace(m, confidence=1.0) for m in s.mentions) for s in gold]
        found = consistent(certain, fits)
        n_unmarked += sum(m.provenance == "repeated" for s in found for m in s.mentions)
    assert n_of_one_type / n_names > 0.985
    assert n_marked / (n_marked + n_unmarked) > 0.98
