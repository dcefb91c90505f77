"""Drafts of lists: they never change the answer, and what is forced costs no pass."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hard_texts import HARD_TEXTS, chances, random_mentions, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from lists import SPELLS_LISTS
from numpy.typing import NDArray
from test_decoding import PROMPT, VOCABULARIES, decode, fake

from constrained_ner.backends.fake import FakeBackend
from constrained_ner.constraint.answer_form import AnswerTokens, answer_form
from constrained_ner.constraint.legal import TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Span
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.decoding.unconstrained import unconstrained
from constrained_ner.schema import DDI

TOKENS: dict[tuple[str, bool], AnswerTokens] = {
    (name, occurrences): answer_form("list", Markup(DDI), occurrences=occurrences).spelt(vocabulary)
    for name, vocabulary in VOCABULARIES.items()
    for occurrences in (False, True)
}


def check_equal(
    text: str,
    tokens: AnswerTokens,
    rule: TokenRule,
    seed: int,
    expected: Sequence[Mention] = (),
    horizon: int | None = None,
) -> None:
    name = next(name for (name, _), known in TOKENS.items() if known is tokens)
    reference = decode(stepwise(PROMPT, tokens.of(text, rule), 4000), fake(name, seed=seed))
    drafted = decode(
        copy_draft(PROMPT, tokens.of(text, rule), 4000, expected, horizon=horizon), fake(name, seed=seed)
    )
    assert drafted.token_ids == reference.token_ids
    assert drafted.choices == reference.choices
    assert drafted.n_passes <= max(1, sum(choice is not None for choice in reference.choices) + 1)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
def test_copy_draft_equals_stepwise(vocabulary: str, rule: TokenRule) -> None:
    chance = Random(4)
    for seed, text in enumerate([*HARD_TEXTS[::3], *SPELLS_LISTS]):
        expected = random_mentions(chance, text, DDI.type_names, "word")
        check_equal(
            text, TOKENS[vocabulary, bool(seed % 2)], rule, seed, expected, chance.choice([None, 1, 3])
        )


@given(text=texts, chance=chances, name=st.sampled_from(list(VOCABULARIES)), occurrences=st.booleans())
@settings(max_examples=40)
def test_copy_draft_equals_stepwise_on_random_texts(
    text: str, chance: Random, name: str, occurrences: bool
) -> None:
    expected = random_mentions(chance, text, DDI.type_names, "word")
    check_equal(text, TOKENS[name, occurrences], "canonical", chance.randint(0, 99), expected)


def test_an_expected_list_takes_one_pass() -> None:
    """A model that wants just this list confirms it at once."""
    text = "on aspirin and iron"
    mentions = [Mention((Span(3, 10),), "drug", "aspirin"), Mention((Span(15, 19),), "brand", "iron")]
    tokens = TOKENS["byte-level", False]
    wanted = [token_id for token_id, _ in tokens.of(text).encode(mentions)]

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        row = np.zeros(len(tokens.vocabulary), dtype=np.float32)
        row[wanted[min(len(ids) - len(PROMPT), len(wanted) - 1)]] = 5.0
        return row

    def backend() -> FakeBackend:
        return FakeBackend(tokens.vocabulary, score, max_sequences=1)

    answer = decode(copy_draft(PROMPT, tokens.of(text), 4000, mentions), backend())
    assert tokens.vocabulary.decode(answer.token_ids) == b"aspirin = drug; iron = brand"
    assert answer.n_passes == 1
    unaided = decode(copy_draft(PROMPT, tokens.of(text), 4000), backend())
    assert unaided.token_ids == answer.token_ids
    assert 1 < unaided.n_passes <= 6


def test_a_free_list_ends_with_a_token_that_ends_answers() -> None:
    tokens = TOKENS["byte-level", False]
    answer = decode(unconstrained(PROMPT, tokens.of("on aspirin"), 4000), fake("byte-level", seed=3))
    assert answer.finished or len(answer.token_ids) <= 2 * 10 + 64
