"""Engines of others held against ours: the same sets at every step, the same answers from the same models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import pytest
from hard_texts import HARD_TEXTS, random_text
from vocabularies import (
    byte_level_vocabulary,
    byte_vocabulary,
    sentencepiece_vocabulary,
    tag_token_vocabulary,
)

from constrained_ner.constraint import Constraint, TagMachine
from constrained_ner.engines import Engine, EngineTokens, Spellings
from constrained_ner.grammar import words
from constrained_ner.legal import END, LegalTokens, TagTokens
from constrained_ner.markup import Markup
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary

MACHINE = TagMachine(Markup(DDI))
VOCABULARIES: dict[str, Callable[[], Vocabulary]] = {
    "bytes": byte_vocabulary,
    "byte-level": byte_level_vocabulary,
    "tag tokens": tag_token_vocabulary,
    "sentencepiece": sentencepiece_vocabulary,
}
MASKING = ["llguidance", "xgrammar", "outlines"]  # engines for any vocabulary


@cache
def tag_tokens_of(vocabulary: str) -> TagTokens:
    return TagTokens(MACHINE, VOCABULARIES[vocabulary]())


@cache
def engine_for(name: str, vocabulary: str) -> tuple[Engine, Spellings]:
    spellings = Spellings(tag_tokens_of(vocabulary))
    if name == "llguidance":
        from constrained_ner.engines.llguidance import LlguidanceEngine

        return LlguidanceEngine(spellings), spellings
    if name == "xgrammar":
        from constrained_ner.engines.xgrammar import XgrammarEngine

        return XgrammarEngine(spellings), spellings
    from constrained_ner.engines.outlines import OutlinesEngine

    return OutlinesEngine(spellings), spellings


def check_walk(
    engine: Engine, spellings: Spellings, tag_tokens: TagTokens, text: str, chance: Random
) -> None:
    """One random answer, token by token: the engine's legal set is ours before each of them."""
    leading_space = tag_tokens.vocabulary.leading_space
    constraint = Constraint(text, MACHINE, leading_space=leading_space)
    ours = LegalTokens(constraint, tag_tokens, "any")
    theirs = EngineTokens(engine, constraint, spellings)
    state, their_state = ours.start, theirs.start
    while state != END:
        legal, their_legal = ours.legal(state), theirs.legal(their_state)
        assert set(their_legal) == set(legal), f"{text!r} at {constraint_place(constraint, state)}"
        token_id = chance.choice(list(legal))
        state, their_state = legal[token_id], their_legal[token_id]
    assert their_state == END


def constraint_place(constraint: Constraint, state: tuple[int, ...]) -> list[tuple[int, int]]:
    return [divmod(item, MACHINE.n_contexts) for item in state]


def is_short(text: str) -> bool:
    return len(words(Constraint(text, MACHINE))[0]) <= 7


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("name", MASKING)
def test_the_legal_sets_are_ours(name: str, vocabulary: str) -> None:
    engine, spellings = engine_for(name, vocabulary)
    chance = Random(20)
    texts = [*HARD_TEXTS, *(random_text(chance, 8) for _ in range(8))]
    for text in texts:
        if name != "outlines" or is_short(text):
            check_walk(engine, spellings, tag_tokens_of(vocabulary), text, chance)
