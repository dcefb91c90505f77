"""The language of lists in several notations, checked with the engines that read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hard_texts import HARD_TEXTS, random_text
from lists import LISTS, NUMBERED, SHORT_LISTS, SHORT_NUMBERED, SPELLS_LISTS, random_list
from test_automaton import mutated
from test_grammars import GOLDEN, LlamaGrammar, LlguidanceGrammar, is_unicode, lark_matcher, llama_model

from constrained_ner.constraint.edges import Boundary
from constrained_ner.constraint.grammars import Dialect, render, words
from constrained_ner.constraint.grammars.list_json import are_entries, list_of, write_entries
from constrained_ner.constraint.grammars.list_language import ListRule, list_rules
from constrained_ner.constraint.grammars.list_regex import render_list
from constrained_ner.constraint.list_automaton import ListAutomaton
from constrained_ner.constraint.list_machine import ListMachine
from constrained_ner.data import Sentence
from constrained_ner.errors import SentenceError

__all__ = ["llama_model"]

Case = tuple[str, ListMachine, Boundary, bool]
CASES: list[Case] = [
    *((text, LISTS, "word", False) for text in HARD_TEXTS),
    *((text, NUMBERED, "word", False) for text in (*HARD_TEXTS[:8], *SPELLS_LISTS, HARD_TEXTS[-2])),
    *((text, LISTS, "word", True) for text in ("", "x", " x", *SPELLS_LISTS)),
    *((text, SHORT_LISTS, "char", False) for text in ("a = a; a", "ab a-b", "é\u0301 <")),
    *((text, SHORT_NUMBERED, "char", False) for text in ("aaa a", "a-b = a")),
]


def answers(chance: Random, automaton: ListAutomaton, n_answers: int) -> Iterator[tuple[bytes, bool]]:
    """Random walks over the automaton and their mutations, each with whether it is legal."""
    for _ in range(n_answers):
        answer = random_list(chance, automaton)
        yield answer, True
        for wrong in (mutated(chance, answer), answer[: chance.randint(0, len(answer))]):
            yield wrong, automaton.read(wrong) is not None


def automaton_of(case: Case) -> ListAutomaton:
    text, machine, boundary, leading_space = case
    return ListAutomaton(text, machine, boundary=boundary, leading_space=leading_space)


def check_gbnf(model: Any, automaton: ListAutomaton, chance: Random, n_answers: int) -> None:
    grammar = LlamaGrammar(model, render(automaton, "gbnf"))
    for answer, legal in answers(chance, automaton, n_answers):
        if is_unicode(answer) and b"\0" not in answer:
            ids = model.tokenize(answer.decode(), specials=False)
            assert grammar.accepts(ids) == legal, f"{answer!r} for {automaton.text!r}"
    grammar.close()


def check_lark(automaton: ListAutomaton, chance: Random, n_answers: int) -> None:
    matcher = lark_matcher(render(automaton, "lark"))
    for answer, legal in answers(chance, automaton, n_answers):
        assert matcher.accepts(answer) == legal, f"{answer!r} for {automaton.text!r}"


def check_regex(automaton: ListAutomaton, chance: Random, n_answers: int) -> None:
    pattern = re.compile(render(automaton, "regex"))
    for answer, legal in answers(chance, automaton, n_answers):
        if is_unicode(answer):
            matches = pattern.fullmatch(answer.decode()) is not None
            assert matches == legal, f"{answer!r} for {automaton.text!r}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case[0])[:30])
def test_gbnf_in_llama_cpp(llama_model: Any, case: Case) -> None:
    check_gbnf(llama_model, automaton_of(case), Random(5), 8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case[0])[:30])
def test_lark_in_llguidance(case: Case) -> None:
    check_lark(automaton_of(case), Random(6), 8)


@pytest.mark.parametrize(
    "case", [c for c in CASES if len(words(automaton_of(c))[0]) <= 12], ids=lambda case: ascii(case[0])[:30]
)
def test_regular_expression(case: Case) -> None:
    check_regex(automaton_of(case), Random(7), 8)


def test_random_texts() -> None:
    chance = Random(11)
    for _ in range(40):
        machine = chance.choice([LISTS, NUMBERED, SHORT_LISTS])
        automaton = automaton_of((random_text(chance, 6), machine, "word", chance.random() < 0.3))
        check_lark(automaton, chance, 3)
        if len(words(automaton)[0]) <= 9:
            check_regex(automaton, chance, 3)


def test_sentences_of_the_corpus(llama_model: Any, gold: dict[str, list[Sentence]]) -> None:
    chance = Random(8)
    for sentence in gold["train"][3::100]:
        automaton = ListAutomaton(sentence.text, chance.choice([LISTS, NUMBERED]))
        check_gbnf(llama_model, automaton, chance, 2)
        check_lark(automaton, chance, 2)


def test_three_rules_a_word_that_refer_to_later_ones_and_one_for_the_types() -> None:
    text = " ".join(f"w{number}" for number in range(500))
    _, rules = list_rules(ListAutomaton(text, LISTS))
    assert len(rules) == 3 * 500 + 1
    kinds = ["next", "name", "end", "type"]

    def place(rule: ListRule) -> tuple[bool, int, int]:
        return rule.kind == "type", rule.word, kinds.index(rule.kind)

    for rule, ways in rules.items():
        for way in ways:
            assert all(later in rules and place(later) > place(rule) for later in way.then)


def test_a_long_regular_expression_is_refused_with_the_way_out() -> None:
    text = " ".join(f"w{number}" for number in range(100))
    with pytest.raises(SentenceError, match=r"in 100 words .* 3000 characters: use GBNF or Lark"):
        render_list(ListAutomaton(text, LISTS), max_characters=3000)


def test_the_json_schema_takes_lists_as_arrays_of_entries() -> None:
    from llguidance import LLMatcher

    chance = Random(12)
    for text in ("Beta-blockers, too ", "", 'é \U0001f48a \\ "', "aspirin aspirin"):
        for machine in (LISTS, NUMBERED):
            automaton = ListAutomaton(text, machine)
            matcher = LlguidanceGrammar(LLMatcher.grammar_from_json_schema(render(automaton, "json-schema")))
            for _ in range(5):
                answer = random_list(chance, automaton).decode()
                entries = [] if answer == "none" else [e.rpartition(" = ") for e in answer.split("; ")]
                written = json.dumps([{"name": n, "type": t} for n, _, t in entries], ensure_ascii=False)
                assert matcher.accepts(written.encode())
                assert list_of(written) == answer
                assert are_entries(automaton, written)
                assert not are_entries(automaton, written[:-1])
                assert not are_entries(automaton, written.replace("[", '[{"name": "zz", "type": "drug"},', 1))


def test_mentions_as_json() -> None:
    from constrained_ner.data import Mention, Span

    automaton = ListAutomaton("iron iron", LISTS)
    mentions = [Mention((Span(0, 4),), "drug", "iron"), Mention((Span(5, 9),), "drug", "iron")]
    assert json.loads(write_entries(automaton, mentions)) == [{"name": "iron", "type": "drug"}]
    assert list_of("[]") == "none"
    assert list_of("{}") is None
    assert list_of('[{"name": 1}]') is None


@pytest.mark.parametrize(("dialect", "suffix"), [("gbnf", "gbnf"), ("lark", "lark")])
def test_the_rendered_grammar_is_the_committed_one(dialect: Dialect, suffix: str) -> None:
    """After a change to a template: look at the difference, then write the file again."""
    rendered = render(ListAutomaton('Beta-blockers "<5 mg"\n', LISTS, leading_space=True), dialect)
    assert rendered == (Path(GOLDEN) / f"list.{suffix}").read_text(encoding="utf-8")
