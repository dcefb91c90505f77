"""A trace changes nothing, and says what was decided."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routines import run_all
from vocabularies import tag_token_vocabulary

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.legal import LegalTokens
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.decoding.answer import Answer, Decoder
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.decoding.trace import TracedPass, decisions, traced
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
VOCABULARY = tag_token_vocabulary()
TAG_TOKENS = TagTokens(MACHINE, VOCABULARY)
PROMPT = (7, 8, 9)
TEXTS = st.text("ab <β", max_size=12) | st.sampled_from(["Effect of aspirin on iron.", "a <drug> b</drug>"])


def decode(decoder: Decoder, seed: int) -> Answer:
    score = seeded_score(len(VOCABULARY), seed=seed, scale=6.0)
    backend = FakeBackend(VOCABULARY, score, max_sequences=1)
    return next(run_all(iter([decoder]), backend))


def legal_tokens(text: str) -> LegalTokens:
    return LegalTokens(Constraint(text, MACHINE), TAG_TOKENS, "canonical")


@settings(max_examples=60)
@given(text=TEXTS, seed=st.integers(0, 99), horizon=st.sampled_from([None, 1, 3, 8]))
def test_drafts_decide_what_stepwise_decoding_decides(text: str, seed: int, horizon: int | None) -> None:
    drafted: list[TracedPass] = []
    stepped: list[TracedPass] = []
    plain = decode(copy_draft(PROMPT, legal_tokens(text), 4096, horizon=horizon), seed)
    answer = decode(traced(copy_draft(PROMPT, legal_tokens(text), 4096, horizon=horizon), drafted), seed)
    assert answer == plain
    assert len(drafted) == answer.n_passes
    reference = decode(traced(stepwise(PROMPT, legal_tokens(text), 4096), stepped), seed)
    found = list(decisions(answer, drafted, len(PROMPT), legal_tokens(text)))
    wanted = list(decisions(reference, stepped, len(PROMPT), legal_tokens(text)))
    assert [(d.at, d.state, d.legal, d.token_id, d.wanted) for d in found] == [
        (d.at, d.state, d.legal, d.token_id, d.wanted) for d in wanted
    ]
    for one, two in zip(found, wanted, strict=True):
        assert one.logits == pytest.approx(two.logits)
        assert one.logits[one.legal.index(one.token_id)] == max(one.logits)


@given(text=TEXTS, seed=st.integers(0, 20))
@settings(max_examples=30)
def test_every_choice_of_the_answer_is_among_the_decisions(text: str, seed: int) -> None:
    passes: list[TracedPass] = []
    answer = decode(traced(copy_draft(PROMPT, legal_tokens(text), 4096), passes), seed)
    found = {d.at: d for d in decisions(answer, passes, len(PROMPT), legal_tokens(text))}
    for at, choice in enumerate(answer.choices):
        assert (choice is None) == (at not in found)
        if choice is not None:
            assert found[at].token_id == choice.token_id
            assert found[at].legal_mass == pytest.approx(choice.legal_mass)
            assert found[at].wanted == choice.wanted
            assert math.isfinite(sum(found[at].logits))
