"""The legal tokens of lists over every vocabulary: no dead ends, no other answers, targets that read back."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

import pytest
from hard_texts import HARD_TEXTS, boundaries, chances, random_text, texts
from hypothesis import given
from hypothesis import strategies as st
from lists import SPELLS_LISTS
from test_legal import MAKERS, REAL

from constrained_ner.constraint.answer_form import AnswerTokens, answer_form
from constrained_ner.constraint.automaton import END, State
from constrained_ner.constraint.edges import Boundary
from constrained_ner.constraint.legal import LegalTokenSets, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Sentence
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary

MARKUP = Markup(DDI)
RULES: list[TokenRule] = ["canonical", "any"]


@cache
def small(name: str, occurrences: bool = False) -> AnswerTokens:
    return answer_form("list", MARKUP, occurrences=occurrences).spelt(MAKERS[name]())


@cache
def real(name: str, shared: Path) -> Vocabulary:
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    return load_vocabulary(shared / "vocab" / f"ggml-vocab-{name}.gguf")


def random_walk(chance: Random, legal_tokens: LegalTokenSets) -> tuple[bytes, list[State]]:
    """A random walk over legal tokens to the end. Fails on a dead end."""
    state, answer, states = legal_tokens.start, b"", []
    while state != END:
        states.append(state)
        legal = legal_tokens.legal(state)
        assert legal, f"dead end after {answer!r} in {legal_tokens.constraint.text!r}"
        ends = [token_id for token_id, after in legal.items() if after == END]
        token_id = chance.choice(ends) if ends and chance.random() < 0.3 else chance.choice(list(legal))
        if legal[token_id] != END:
            answer += legal_tokens.vocabulary.token_bytes[token_id]
        state = legal[token_id]
    return answer, states


def check_walks(chance: Random, tokens: AnswerTokens, text: str, rule: TokenRule, boundary: Boundary) -> None:
    """Every walk reads back, and canonical tokens are among those that fit, leading to the same states."""
    legal_tokens = tokens.of(text, rule, boundary)
    answer, states = random_walk(chance, legal_tokens)
    assert legal_tokens.constraint.read(answer) is not None
    every = tokens.of(text, "any", boundary)
    state = chance.choice(states)
    assert legal_tokens.legal(state).items() <= every.legal(state).items()


@given(
    text=st.one_of(texts, st.sampled_from(SPELLS_LISTS)),
    chance=chances,
    name=st.sampled_from(list(MAKERS)),
    rule=st.sampled_from(RULES),
    boundary=boundaries,
    occurrences=st.booleans(),
)
def test_walks_over_small_vocabularies(
    text: str, chance: Random, name: str, rule: TokenRule, boundary: Boundary, occurrences: bool
) -> None:
    check_walks(chance, small(name, occurrences), text, rule, boundary)


@pytest.mark.parametrize("name", REAL)
def test_walks_over_real_vocabularies(name: str, shared: Path, gold: dict[str, list[Sentence]]) -> None:
    pytest.importorskip("llama_cpp")
    chance, vocabulary = Random(5), real(name, shared)
    for occurrences in (False, True):
        tokens = answer_form("list", MARKUP, occurrences=occurrences).spelt(vocabulary)
        sentences = [s.text for s in gold["train"][::400]]
        for text in [*HARD_TEXTS, *SPELLS_LISTS, *sentences, *(random_text(chance) for _ in range(20))]:
            check_walks(chance, tokens, text, chance.choice(RULES), chance.choice(["word", "word", "char"]))


@pytest.mark.parametrize("name", [*MAKERS, *REAL])
def test_targets_read_back(name: str, gold: dict[str, list[Sentence]], shared: Path) -> None:
    vocabulary = MAKERS[name]() if name in MAKERS else real(name, shared)
    for leading_space in (None, True):
        form = answer_form("list", MARKUP, occurrences=True)
        tokens = form.spelt(vocabulary, leading_space=leading_space)
        for sentence in gold["train"][7::300]:
            kept, _ = MARKUP.expressible(sentence)
            legal_tokens = tokens.of(sentence.text)
            *steps, (stop, _) = legal_tokens.encode(kept)
            assert stop in vocabulary.stop_ids
            answer = vocabulary.decode(token_id for token_id, _ in steps)
            found = legal_tokens.constraint.read(answer)
            assert found is not None
            assert [(t.type, t.span) for t in found] == [(m.type, m.spans[0]) for m in kept]


def test_a_name_that_can_only_go_on_in_one_way_is_forced() -> None:
    tokens = small("bytes")
    legal_tokens = tokens.of("on aspirin")
    state = legal_tokens.constraint.advance(legal_tokens.start, b"asp")
    assert [tokens.vocabulary.token_bytes[i] for i in legal_tokens.legal(state)] == [b"i"]


def test_line_breaks_may_end_a_list() -> None:
    vocabulary = small("byte-level").vocabulary
    (line_break,) = vocabulary.encode("\n")
    tokens = answer_form("list", MARKUP).spelt(vocabulary, end_ids=[line_break])
    legal_tokens = tokens.of("on aspirin")
    state = legal_tokens.constraint.advance(legal_tokens.start, b"aspirin = drug")
    assert legal_tokens.legal(state)[line_break] == END
    assert line_break not in legal_tokens.legal(legal_tokens.start)
