"""A survey of a sentence, and what replaying it says of decoding with a bias."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from routines import run_all
from vocabularies import byte_level_vocabulary, byte_vocabulary, tag_token_vocabulary

from constrained_ner.backends.fake import FakeBackend, Score, seeded_score
from constrained_ner.constraint.answer_form import NamesWithTypes
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.bias import CLOSING, Bias, TypeBias
from constrained_ner.constraint.legal import LegalTokens, LegalTokenSets, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.place_bias import KnownName
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Mention, Span
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.decoding.survey import Survey, path_of, survey_sentence
from constrained_ner.errors import ContextOverflowError
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
VOCABULARIES = {
    "bytes": byte_vocabulary(),
    "byte-level": byte_level_vocabulary(),
    "tag tokens": tag_token_vocabulary(),
}
LISTS = NamesWithTypes(Markup(DDI))
TAG_TOKENS = {name: TagTokens(MACHINE, vocabulary) for name, vocabulary in VOCABULARIES.items()}
PROMPT = (7, 8)
texts = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from(["iron", "a<b", "<drug>", "ß", "x-y"]), max_size=4).map(" ".join),
)
biases = st.dictionaries(st.sampled_from([*MACHINE.markup.types, CLOSING]), st.floats(-4, 4))


def legal_tokens(text: str, vocabulary: str, rule: TokenRule = "canonical") -> LegalTokens:
    return LegalTokens(Constraint(text, MACHINE), TAG_TOKENS[vocabulary], rule)


def of_the_state(tokens: LegalTokenSets, seed: int) -> Score:
    """A model whose scores depend only on where in the sentence it is, and on what is open."""
    known = tokens.vocabulary

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        state = tokens.constraint.advance(tokens.constraint.start, known.decode(ids[len(PROMPT) :]))
        chance = np.random.default_rng([seed, *(item % 2**32 for item in state)])
        row: NDArray[np.float32] = 4 * chance.random(len(known), dtype=np.float32)
        return row

    return score


def surveyed(
    tokens: LegalTokenSets,
    score: Score,
    answers: list[tuple[Mention, ...]],
    reach: float,
    prior: Bias | None = None,
) -> Survey:
    survey = Survey(tokens, prior)
    paths = [path_of(survey, (i for i, _ in tokens.encode(mentions))) for mentions in answers]
    routine = survey_sentence(PROMPT, survey, paths, 4000, reach=reach, reach_on_turns=reach)
    return next(run_all([routine], FakeBackend(tokens.vocabulary, score, context_length=4096)))


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(
    text=texts,
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["canonical", "any"]),
    by_type=biases,
    marked=st.booleans(),
)
@settings(max_examples=25)
def test_a_replay_writes_what_a_model_that_looks_only_at_the_state_would_write(
    vocabulary: str, text: str, seed: int, rule: TokenRule, by_type: dict[str, float], marked: bool
) -> None:
    tokens = legal_tokens(text, vocabulary, rule)
    score, known = of_the_state(tokens, seed), VOCABULARIES[vocabulary]
    bias = TypeBias(by_type, MACHINE, known)
    answers: list[tuple[Mention, ...]] = [()]
    if marked and text.isalpha():
        answers.append((Mention((Span(0, len(text)),), "drug", text),))
    survey = surveyed(tokens, score, answers, math.inf)
    backend = FakeBackend(known, score, context_length=4096)
    decoded = next(run_all([stepwise(PROMPT, tokens, 4000, (), bias)], backend))
    assert survey.replay(bias.of) == decoded.token_ids


@pytest.mark.parametrize("vocabulary", ["bytes", "byte-level"])
@given(
    text=st.lists(st.sampled_from(["iron", "ir", "x-y", "a = b", "ß;"]), min_size=1, max_size=4).map(
        " ".join
    ),
    seed=st.integers(0, 1000),
    by_type=st.dictionaries(st.sampled_from(MACHINE.markup.types), st.floats(-4, 4)),
    known_name=st.booleans(),
)
@settings(max_examples=25)
def test_so_does_a_replay_of_a_list_and_with_a_prior(
    vocabulary: str, text: str, seed: int, by_type: dict[str, float], known_name: bool
) -> None:
    spelt = LISTS.spelt(VOCABULARIES[vocabulary])
    tokens = spelt.of(text)
    names = [KnownName(0, len(text.split()[0].encode()), "drug", 2.0, 1.0, 0.5)] if known_name else []
    prior = spelt.place_bias(names, text) if known_name else None
    score, bias = of_the_state(tokens, seed), spelt.bias(by_type)
    survey = surveyed(tokens, score, [()], math.inf, prior)
    backend = FakeBackend(tokens.vocabulary, score, context_length=4096)
    decoded = next(run_all([stepwise(PROMPT, tokens, 4000, (), bias, prior=prior)], backend))
    assert survey.replay(bias.of) == decoded.token_ids


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(text=texts, seed=st.integers(0, 1000), by_type=biases, reach=st.floats(0, 3))
@settings(max_examples=25)
def test_a_replay_is_legal_whatever_the_model_and_however_little_is_on_record(
    vocabulary: str, text: str, seed: int, by_type: dict[str, float], reach: float
) -> None:
    tokens, known = legal_tokens(text, vocabulary), VOCABULARIES[vocabulary]
    survey = surveyed(tokens, seeded_score(len(known), seed=seed), [()], reach)
    answer = known.decode(survey.replay(TypeBias(by_type, MACHINE, known).of))
    assert tokens.constraint.read(answer) is not None


def test_without_reach_a_survey_is_one_pass_over_the_answer() -> None:
    tokens = legal_tokens("Effect of aspirin on iron.", "byte-level")
    survey = surveyed(tokens, seeded_score(len(tokens.vocabulary)), [()], -1.0)
    copied = [i for i, _ in tokens.encode(())]
    assert survey.effort["n_passes"] == 1
    assert survey.effort["n_tokens"] < len(PROMPT) + len(copied)


def test_the_last_answer_counts_where_answers_pass_the_same_state() -> None:
    """The model likes what follows a tag: at the end, the record has what it says after the gold answer."""
    tokens = legal_tokens("iron on iron", "bytes")

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        row = np.zeros(len(tokens.vocabulary), dtype=np.float32)
        row[ord("<")] = 1.0 if ord(">") in ids else -1.0
        return row

    gold = (Mention((Span(0, 4),), "drug", "iron"),)
    outside = MACHINE.state(5, MACHINE.OUTSIDE)
    at = list(tokens.legal(outside)).index(ord("<"))
    assert surveyed(tokens, score, [()], -1.0).logits[outside][at] == -1
    assert surveyed(tokens, score, [(), gold], -1.0).logits[outside][at] == 1


def test_as_long_as_nothing_is_marked_a_replay_takes_the_scores_of_the_plain_answer() -> None:
    tokens = legal_tokens("iron on iron", "bytes")

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        """Shy, until the first tag: from then on it marks all it can."""
        row = np.zeros(len(tokens.vocabulary), dtype=np.float32)
        row[ord("<")] = 9.0 if ord(">") in ids else -1.0
        return row

    gold = (Mention((Span(0, 4),), "drug", "iron"),)
    survey = surveyed(tokens, score, [(), gold], 3.0)
    assert b"<" not in tokens.vocabulary.decode(survey.replay())
    bias = TypeBias(dict.fromkeys(MACHINE.markup.types, 1.5), MACHINE, tokens.vocabulary)
    assert tokens.vocabulary.decode(survey.replay(bias.of)).count(b"</") >= 2


def test_a_sentence_that_does_not_fit_is_refused() -> None:
    tokens = legal_tokens("Effect of aspirin on iron.", "bytes")
    survey = Survey(tokens)
    path = path_of(survey, (i for i, _ in tokens.encode(())))
    backend = FakeBackend(tokens.vocabulary, context_length=4096)
    with pytest.raises(ContextOverflowError):
        next(run_all([survey_sentence(PROMPT, survey, [path], 10)], backend))
