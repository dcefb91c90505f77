"""Forms of others: what is written is read back, and no answer is too strange to be read."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest
from hard_texts import chances, characters, random_mentions, texts
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.constraint.edges import CLOSE, OPEN, edges
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Span
from constrained_ner.experiments.peers.form import PeerForm
from constrained_ner.experiments.peers.forms import FORMS
from constrained_ner.experiments.peers.json_array import elements
from constrained_ner.experiments.peers.string_match import everywhere, in_order, numbered
from constrained_ner.schema import DDI

MARKUP = Markup(DDI)
MADE: dict[str, PeerForm] = {name: made(MARKUP) for name, made in FORMS.items()}
forms = st.sampled_from(sorted(MADE))

_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(characters, max_size=5))
_ENTRIES = st.dictionaries(
    st.sampled_from(["name", "type", "occurrence", "start", "end", "x"]),
    st.one_of(_VALUES, st.sampled_from(["drug", "aspirin", "group"]), st.integers(0, 12)),
)
answers = st.one_of(
    texts,
    st.text(st.sampled_from('[]{}",:0123456789 aspirin<drug>/typen'), max_size=60),
    st.recursive(st.one_of(_VALUES, _ENTRIES), lambda inner: st.lists(inner, max_size=4)).map(json.dumps),
    st.lists(_ENTRIES, max_size=4).map(json.dumps),
)
"""Any text; what looks like JSON or tags; JSON of the wrong shape; JSON that is nearly right."""


def mentions_of(text: str, chance: Random) -> list[Mention]:
    return random_mentions(chance, text, MARKUP.types, "word")


def places(mentions: list[Mention]) -> list[tuple[str, Span]]:
    return [(m.type, m.spans[0]) for m in mentions]


@given(forms, texts, answers, st.integers(0, 200))
def test_any_answer_is_read_and_every_place_is_in_the_text(
    form: str, text: str, answer: str, cut: int
) -> None:
    for written in (answer, answer[:cut], f"Names: {answer}"):
        reading = MADE[form].read(text, written)
        sentence = reading.sentence(text)
        assert all(m.text == text[m.start : m.end] for m in sentence.mentions)
        assert {m.type for m in sentence.mentions} <= set(DDI.type_names)
        if form != "positions":
            flags = edges(text)
            assert all(flags[span.start] & OPEN and flags[span.end] & CLOSE for _, span in reading.spans)
            taken = sorted(span for _, span in reading.spans)
            if form != "JSON with occurrences":
                assert all(a.end <= b.start for a, b in pairwise(taken))


@pytest.mark.parametrize("form", ["positions", "JSON with occurrences"])
@given(text=texts, chance=chances)
def test_forms_that_say_the_place_read_back_what_they_write(form: str, text: str, chance: Random) -> None:
    mentions = mentions_of(text, chance)
    reading = MADE[form].read(text, MADE[form].write(text, mentions))
    assert list(reading.spans) == places(mentions)
    assert (reading.n_absent, reading.n_unknown, reading.broken) == (0, 0, False)


@given(text=texts, chance=chances)
def test_a_list_of_names_reads_back_its_names_wherever_they_are(text: str, chance: Random) -> None:
    mentions = mentions_of(text, chance)
    reading = MADE["JSON of names"].read(text, MADE["JSON of names"].write(text, mentions))
    assert (reading.n_absent, reading.n_unknown, reading.broken) == (0, 0, False)
    found = {text[span.start : span.end] for _, span in reading.spans}
    assert found <= {m.text for m in mentions}
    longest = max((m.text for m in mentions), key=len, default=None)
    assert longest is None or longest in found


@given(text=texts.filter(lambda text: "<" not in text), chance=chances)
def test_tags_read_back_names_in_their_order(text: str, chance: Random) -> None:
    mentions = mentions_of(text, chance)
    reading = MADE["free tags"].read(text, MADE["free tags"].write(text, mentions))
    assert (reading.n_absent, reading.n_unknown, reading.broken) == (0, 0, False)
    names = [(entity_type, text[span.start : span.end]) for entity_type, span in reading.spans]
    assert set(names) <= {(m.type, m.text) for m in mentions}


@given(text=texts)
def test_the_grammar_of_names_has_substrings_of_the_sentence_only(text: str) -> None:
    schema = json.loads(MADE["JSON of names"].grammar(text) or "")
    names = schema["items"]["properties"]["name"]["enum"]
    assert all(name in text for name in names)


@pytest.mark.parametrize("form", sorted(MADE))
def test_prompts_ask_for_one_sentence_and_answers_are_one_line(form: str) -> None:
    made = MADE[form]
    made.prompt.check(form)
    assert "{types}" in made.prompt.sysprompt
    written = made.write("on iron", [Mention((Span(3, 7),), "drug", "iron")])
    assert "\n" not in written
    assert "drug" in written


def test_a_name_stands_for_all_its_places_and_longer_names_come_first() -> None:
    reading = everywhere("iron, iron salts, irony", [("iron", "drug"), ("iron salts", "group")])
    assert sorted(reading.spans, key=lambda pair: pair[1]) == [
        ("drug", Span(0, 4)),
        ("group", Span(6, 16)),
    ]
    assert everywhere("iron", [("gold", "drug"), ("", "drug"), ("iro", "drug")]).n_absent == 3


def test_a_number_says_which_place_is_meant() -> None:
    assert numbered("iron, iron", [("iron", "drug", 2)]).spans == (("drug", Span(6, 10)),)
    assert numbered("iron, iron", [("iron", "drug", 3), ("iron", "drug", 0)]).n_absent == 2


def test_names_in_the_order_of_the_sentence_are_each_at_their_own_place() -> None:
    found = in_order("iron, gold, iron", [("gold", "drug"), ("iron", "brand"), ("iron", "drug")])
    assert found.spans == (("drug", Span(6, 10)), ("brand", Span(12, 16)), ("drug", Span(0, 4)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[]", ([], True)),
        ('Names: [{"a": 1}, 2 ] thanks', ([{"a": 1}, 2], True)),
        ('[{"a": 1}, {"b"', ([{"a": 1}], False)),
        ("[1,]", ([1], False)),
        ("[1 2]", ([1], False)),
        ("none", ([], False)),
        ("[" + "9" * 5000 + "]", ([], False)),
        ("[" * 100_000, ([], False)),
    ],
)
def test_the_elements_of_an_array_are_read_up_to_the_damage(answer: str, expected: object) -> None:
    assert elements(answer) == expected
