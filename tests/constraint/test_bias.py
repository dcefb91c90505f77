"""A bias per type: which tokens get it, and that every decoder gives the same answer with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routines import run_all
from vocabularies import byte_level_vocabulary, byte_vocabulary, tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores
from constrained_ner.constraint.automaton import Constraint, State, TagMachine
from constrained_ner.constraint.bias import CLOSING, TypeBias, parse_bias
from constrained_ner.constraint.legal import END, LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Sentence
from constrained_ner.decoding.answer import choose
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.errors import SchemaError, UserError
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
TYPES = MACHINE.markup.types
VOCABULARIES = {
    "bytes": byte_vocabulary(),
    "byte-level": byte_level_vocabulary(),
    "tag tokens": tag_token_vocabulary(),
}
TAG_TOKENS = {name: TagTokens(MACHINE, vocabulary) for name, vocabulary in VOCABULARIES.items()}
TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"
numbers = st.floats(-3, 3).map(lambda x: round(x, 2))


def bias_of(by_type: dict[str, float], vocabulary: str) -> TypeBias:
    return TypeBias(by_type, MACHINE, VOCABULARIES[vocabulary])


def legal_tokens(text: str, vocabulary: str, rule: TokenRule = "canonical") -> LegalTokens:
    return LegalTokens(Constraint(text, MACHINE), TAG_TOKENS[vocabulary], rule)


def added(text: str, answer: str, by_type: dict[str, float], vocabulary: str, rule: TokenRule) -> float:
    """The sum of what the bias adds to the tokens of an answer, tokenised by the longest legal tokens."""
    tokens, bias, known = legal_tokens(text, vocabulary, rule), bias_of(by_type, vocabulary), VOCABULARIES
    state: State = tokens.constraint.start
    rest, total = answer.encode(), 0.0
    while rest:
        legal = tokens.legal(state)
        token_id = max(
            (
                i
                for i, after in legal.items()
                if after != END and rest.startswith(known[vocabulary].token_bytes[i])
            ),
            key=lambda i: len(known[vocabulary].token_bytes[i]),
        )
        numbers_added = bias.of(state, legal)
        total += 0.0 if numbers_added is None else numbers_added[list(legal).index(token_id)]
        rest = rest[len(known[vocabulary].token_bytes[token_id]) :]
        state = legal[token_id]
    return total


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
@given(
    by_type=st.dictionaries(st.sampled_from(TYPES), numbers),
    marked=st.lists(st.sampled_from([*TYPES, ""]), min_size=3, max_size=3),
)
@settings(max_examples=40)
def test_the_tokens_of_a_tag_together_get_the_types_number(
    vocabulary: str, rule: TokenRule, by_type: dict[str, float], marked: list[str]
) -> None:
    words = ["aspirin", "iron", "beta-blockers"]
    text = " ".join(words)
    answer = " ".join(f"<{t}>{w}</{t}>" if t else w for t, w in zip(marked, words, strict=True))
    expected = sum(by_type.get(t, 0.0) for t in marked)
    assert added(text, answer, by_type, vocabulary, rule) == pytest.approx(expected)


def test_nothing_is_added_before_the_type_is_certain() -> None:
    """Byte by byte: `<drug>` and `<drug_n>` part at their sixth byte."""
    bias, tokens = bias_of({"drug_n": 0.5}, "bytes"), legal_tokens("iron", "bytes", "any")
    state, steps = tokens.constraint.start, {}
    for byte in b"<drug_n>":
        legal = tokens.legal(state)
        numbers_added = bias.of(state, legal) or [0.0] * len(legal)
        steps[bytes([byte])] = numbers_added[list(legal).index(byte)]
        state = legal[byte]
    assert steps == {b"<": 0, b"d": 0, b"r": 0, b"u": 0, b"g": 0, b"_": 0.5, b"n": 0, b">": 0}


@pytest.mark.parametrize(("sign"), [1, -1])
def test_what_all_types_have_in_common_is_added_at_once(sign: int) -> None:
    by_type = dict.fromkeys(TYPES, sign * 0.2) | {"drug_n": sign * 0.5}
    bias, tokens = bias_of(by_type, "bytes"), legal_tokens("iron", "bytes", "any")
    legal = tokens.legal(tokens.constraint.start)
    numbers_added = bias.of(tokens.constraint.start, legal)
    assert numbers_added is not None
    assert dict(zip(legal, numbers_added, strict=True)) == {ord("<"): pytest.approx(sign * 0.2), ord("i"): 0}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
def test_every_closing_tag_gets_the_number_for_closing_once(vocabulary: str, rule: TokenRule) -> None:
    by_type = {"drug": 0.3, CLOSING: -0.7}
    text, answer = "aspirin and iron", "<drug>aspirin</drug> and <drug_n>iron</drug_n>"
    assert added(text, answer, by_type, vocabulary, rule) == pytest.approx(0.3 - 2 * 0.7)


def test_a_bias_for_closing_is_added_where_the_tag_begins() -> None:
    bias, tokens = bias_of({CLOSING: 1.0}, "bytes"), legal_tokens("iron", "bytes", "any")
    state = tokens.constraint.advance(tokens.constraint.start, b"<drug>iron")
    steps = []
    for byte in b"</drug>":
        legal = tokens.legal(state)
        steps.append((bias.of(state, legal) or [0.0] * len(legal))[list(legal).index(byte)])
        state = legal[byte]
    assert steps == [1.0, 0, 0, 0, 0, 0, 0]


def test_a_tag_that_the_sentence_spells_itself_gets_nothing() -> None:
    assert added("a <drug> b", "a <drug> b", {"drug": 2.0}, "bytes", "any") == 0


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(
    text=st.one_of(
        st.text(max_size=30), st.lists(st.sampled_from(["iron", "a<b", "<drug>", "ß", "x-y"])).map(" ".join)
    ),
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["canonical", "any"]),
    by_type=st.dictionaries(st.sampled_from(TYPES), numbers, min_size=1),
)
@settings(max_examples=40)
def test_copy_draft_equals_stepwise_with_a_bias(
    vocabulary: str, text: str, seed: int, rule: TokenRule, by_type: dict[str, float]
) -> None:
    known, bias = VOCABULARIES[vocabulary], bias_of(by_type, vocabulary)
    reference, drafted = (
        next(
            run_all(
                iter([decoder((7, 8), legal_tokens(text, vocabulary, rule), 4000, (), bias)]),
                FakeBackend(known, seeded_score(len(known), seed=seed), context_length=4096),
            )
        )
        for decoder in (stepwise, copy_draft)
    )
    assert drafted.token_ids == reference.token_ids
    assert drafted.choices == reference.choices


def test_a_bias_changes_the_choice_and_not_the_probabilities() -> None:
    scores = Scores(np.array([1.0, 2.0], dtype=np.float32), logsumexp=3.0, best=8)
    legal = {7: (1,), 8: (2,)}
    plain, biased = choose(legal, scores), choose(legal, scores, [1.5, 0.0])
    assert (plain.token_id, plain.margins) == (8, (-1.0,))
    assert (biased.token_id, biased.margins) == (7, (1.0,))
    assert np.exp(plain.log_probability) + np.exp(biased.log_probability) == pytest.approx(1)
    assert biased.legal_mass == pytest.approx(plain.legal_mass)


def annotator(vocabulary: str = "tag tokens", **options: object) -> Annotator:
    known = VOCABULARIES[vocabulary]
    backend = FakeBackend(
        known, seeded_score(len(known), scale=3.0), context_length=2048, chat_template=TEMPLATE
    )
    return Annotator(backend, **options)  # type: ignore[arg-type]


TEXT = "Effect of aspirin, iron and beta-blockers on patients with heart failure and diabetes."


def test_more_of_a_type_is_found_with_a_higher_bias() -> None:
    found = [
        sum(m.type == "group" for m in annotator(bias={"group": b}).annotate(TEXT).mentions)
        for b in (-9.0, 0.0, 9.0)
    ]
    assert found[0] == 0
    assert found[1] < found[2]


def test_a_type_that_the_schema_lacks_is_named() -> None:
    with pytest.raises(SchemaError, match="bias for 'disease': the schema's types are"):
        annotator(bias={"disease": 1.0})


def test_less_sure_mentions_are_left_out_and_counted() -> None:
    sentence = annotator().annotate(TEXT)
    confidences = sorted(m.confidence for m in sentence.mentions if m.confidence is not None)
    least = confidences[len(confidences) // 2]
    ner = annotator(min_confidence=least)
    (annotated,) = ner.run([Sentence("s", TEXT)])
    assert annotated.sentence.mentions == tuple(m for m in sentence.mentions if (m.confidence or 0) >= least)
    assert annotated.effort.n_doubtful == len(sentence.mentions) - len(annotated.sentence.mentions) > 0


@pytest.mark.parametrize("options", [{"min_confidence": 0.5}, {"bias": {"drug": 1.0}}])
def test_free_answers_have_no_probabilities_to_judge_by(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="needs a constrained decoder"):
        annotator(constrained=False, **options)


def test_another_engine_takes_no_bias() -> None:
    with pytest.raises(UserError, match="--engine llguidance takes no bias"):
        annotator(engine="llguidance", bias={"drug": 1.0})


def test_a_least_confidence_is_a_probability() -> None:
    with pytest.raises(UserError, match=r"min_confidence: must be at most 1, got 1\.5"):
        annotator(min_confidence=1.5)
    with pytest.raises(UserError, match=r"min_confidence: must be at least 0, got -0\.1"):
        annotator(min_confidence=-0.1)


def test_settings_of_a_command_line() -> None:
    assert parse_bias(["drug_n=+0.5", "drug=-1"]) == {"drug_n": 0.5, "drug": -1.0}
    assert parse_bias([]) == {}


@pytest.mark.parametrize("setting", ["drug", "drug=", "=1", "drug=much", "drug=nan", "drug=inf"])
def test_a_setting_that_is_none_is_quoted(setting: str) -> None:
    with pytest.raises(UserError, match=f"bias '{setting}' is not of the form TYPE=NUMBER"):
        parse_bias([setting])


def test_a_type_set_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"'drug' is set twice: \+1 and \+2"):
        parse_bias(["drug=1", "drug=2"])
