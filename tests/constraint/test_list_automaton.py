"""The automaton of lists of names: what it accepts, what it reads, and that it has no dead ends."""

from __future__ import annotations

from random import Random

import pytest
from hard_texts import boundaries, chances, random_mentions, random_text, texts
from hypothesis import example, given
from hypothesis import strategies as st
from lists import (
    LISTS,
    NUMBERED,
    SHORT_LISTS,
    SHORT_NUMBERED,
    SPELLS_LISTS,
    is_list,
    random_list,
)
from test_automaton import mutated

from constrained_ner.constraint.edges import CLOSE, OPEN, Boundary, edges
from constrained_ner.constraint.list_automaton import ListAutomaton
from constrained_ner.constraint.list_machine import ListMachine
from constrained_ner.data import Sentence

MACHINES = [LISTS, NUMBERED, SHORT_LISTS, SHORT_NUMBERED]
machines = st.sampled_from(MACHINES)
REPEATED = "Iron, then iron, then iron tablets"


def read(text: str, answer: str, machine: ListMachine = LISTS) -> list[tuple[str, int, int]] | None:
    found = ListAutomaton(text, machine).read(answer.encode())
    return None if found is None else [(t.type, t.span.start, t.span.end) for t in found]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("none", []),
        ("Iron = drug", [("drug", 0, 4)]),
        ("iron = drug_n", [("drug_n", 11, 15), ("drug_n", 22, 26)]),
        ("iron = drug; iron tablets = brand", [("drug", 11, 15), ("brand", 22, 34)]),
        ("iron = drug; iron = brand", [("drug", 11, 15), ("brand", 22, 26)]),
        ("Iron, then iron = group", [("group", 0, 15)]),
    ],
)
def test_a_name_stands_for_all_its_places_but_not_for_parts_of_longer_names(
    answer: str, found: list[tuple[str, int, int]]
) -> None:
    assert read(REPEATED, answer) == found


def test_with_occurrences_an_entry_stands_for_one_place() -> None:
    assert read(REPEATED, "iron = drug", NUMBERED) == [("drug", 11, 15)]
    assert read(REPEATED, "iron (2) = drug", NUMBERED) == [("drug", 22, 26)]
    assert read(REPEATED, "iron (3) = drug", NUMBERED) is None
    assert read(REPEATED, "iron (2) = drug") is None


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " none",
        "None",
        "iro = drug",
        "Iron = drug;",
        "Iron = drug; none",
        "Iron = medicine",
        "Iron=drug",
        "iron = drug; Iron = drug",
        "iron tablets = drug; iron = drug",
        "tablets = drug; tablets = drug",
        "Iron = drug\n",
    ],
)
def test_rejects(answer: str) -> None:
    assert read(REPEATED, answer) is None
    automaton = ListAutomaton(REPEATED, LISTS)
    assert not automaton.accepts(automaton.advance(automaton.start, answer.encode()))


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("x = drug; y", "x = drug; y = drug", [("drug", 0, 1), ("drug", 10, 11)]),
        ("x = drug; y", "x = drug; y = drug = drug", None),
        ("none", "none = drug", [("drug", 0, 4)]),
        ("none", "none", []),
        ("a x = drug; y", "a x = drug = brand", [("brand", 0, 10)]),
    ],
)
def test_a_sentence_that_spells_entries_is_text(
    text: str, answer: str, found: list[tuple[str, int, int]] | None
) -> None:
    """Of two readings, the one whose first other name ends earlier."""
    assert read(text, answer) == found


@given(text=texts, chance=chances, machine=machines, boundary=boundaries, leading_space=st.booleans())
def test_walks_end_and_read_back(
    text: str, chance: Random, machine: ListMachine, boundary: Boundary, leading_space: bool
) -> None:
    """No dead end, no endless list; each name is at its offsets, between edges, and none overlaps another."""
    automaton = ListAutomaton(text, machine, boundary=boundary, leading_space=leading_space)
    answer = random_list(chance, automaton)
    found = automaton.read(answer)
    assert found is not None
    assert automaton.accepts(automaton.advance(automaton.start, answer))
    flags = edges(text, boundary)
    done = 0
    for tagged in sorted(found, key=lambda t: t.span):
        assert flags[tagged.span.start] & OPEN
        assert flags[tagged.span.end] & CLOSE
        assert tagged.span.start >= done
        done = tagged.span.end
        entry = answer[tagged.opens_at_byte : tagged.closes_at_byte].decode()
        assert text[tagged.span.start : tagged.span.end] in entry
        assert entry.endswith(" = " + machine.names.labels[tagged.type])


def check_language(text: str, chance: Random, machine: ListMachine, boundary: Boundary) -> None:
    automaton = ListAutomaton(text, machine, boundary=boundary)
    for _ in range(3):
        answer = random_list(chance, automaton)
        assert is_list(answer.decode(), text, machine, boundary)
        for wrong in (mutated(chance, answer), answer[: chance.randint(0, len(answer))]):
            try:
                legal = is_list(wrong.decode(), text, machine, boundary)
            except UnicodeDecodeError:
                legal = False
            assert (automaton.read(wrong) is not None) == legal, f"{wrong!r} for {text!r}"


@pytest.mark.parametrize("text", SPELLS_LISTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_language_on_sentences_that_spell_lists(text: str, machine: ListMachine) -> None:
    chance = Random(1)
    for _ in range(20):
        check_language(text, chance, machine, "word")


def test_the_language_on_random_sentences() -> None:
    """Against trying every way to cut an answer and to place its names."""
    chance = Random(2)
    for _ in range(150):
        text = random_text(chance, 5)[:40]
        check_language(text, chance, chance.choice(MACHINES), chance.choice(["word", "char"]))


@given(text=texts, chance=chances, boundary=boundaries)
@example(text="iron iron iron", chance=Random(3), boundary="word")
def test_with_occurrences_every_target_reads_back_exactly(
    text: str, chance: Random, boundary: Boundary
) -> None:
    mentions = random_mentions(chance, text, NUMBERED.markup.types, boundary)
    answer = NUMBERED.names.write(text, mentions, boundary)
    found = ListAutomaton(text, NUMBERED, boundary=boundary).read(answer.encode())
    assert found is not None
    assert [(t.type, t.span.start, t.span.end) for t in found] == [(m.type, m.start, m.end) for m in mentions]


def test_gold_reads_back(gold: dict[str, list[Sentence]]) -> None:
    """With occurrences all of it; without, hardly anything is lost, and few places are added."""
    n_exact = n_sentences = n_lost = 0
    for sentence in [s for name in ("train", "devel") for s in gold[name] if s.text]:
        kept, _ = LISTS.markup.expressible(sentence)
        expected = [(m.type, m.start, m.end) for m in kept]
        assert read(sentence.text, NUMBERED.names.write(sentence.text, kept), NUMBERED) == expected
        found = read(sentence.text, LISTS.names.write(sentence.text, kept))
        assert found is not None
        n_lost += len(set(expected) - set(found))
        n_exact += sorted(found) == sorted(expected)
        n_sentences += 1
    assert n_exact > 0.99 * n_sentences
    assert n_lost < 5  # of 14,500: a name with two types that is not listed at each of its places
