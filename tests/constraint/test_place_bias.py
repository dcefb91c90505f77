"""A bias of places: which tokens get it, and that it changes what is chosen and never what is legal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routines import run_all
from vocabularies import byte_level_vocabulary, byte_vocabulary, tag_token_vocabulary

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.automaton import Constraint, State, TagMachine
from constrained_ner.constraint.bias import TypeBias
from constrained_ner.constraint.legal import END, LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.place_bias import KnownName, PlaceBias
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
TYPES = MACHINE.markup.types
VOCABULARIES = {
    "bytes": byte_vocabulary(),
    "byte-level": byte_level_vocabulary(),
    "tag tokens": tag_token_vocabulary(),
}
TAG_TOKENS = {name: TagTokens(MACHINE, vocabulary) for name, vocabulary in VOCABULARIES.items()}
TEXT = "Effect of aspirin and iron."
NAME = KnownName(10, 17, "drug", opening=1.0, of_type=2.0, closing=4.0)


def legal_tokens(text: str, vocabulary: str, rule: TokenRule = "canonical") -> LegalTokens:
    return LegalTokens(Constraint(text, MACHINE), TAG_TOKENS[vocabulary], rule)


def added(answer: str, names: list[KnownName], vocabulary: str, rule: TokenRule) -> float:
    """The sum of what is added to the tokens of an answer, tokenised by the longest legal tokens."""
    tokens, known = legal_tokens(TEXT, vocabulary, rule), VOCABULARIES[vocabulary]
    bias = PlaceBias(names, MACHINE, known)
    state: State = tokens.constraint.start
    rest, total = answer.encode(), 0.0
    while rest:
        legal = tokens.legal(state)
        fitting = [i for i, s in legal.items() if s != END and rest.startswith(known.token_bytes[i])]
        token_id = max(fitting, key=lambda i: len(known.token_bytes[i]))
        numbers = bias.of(state, legal)
        total += 0.0 if numbers is None else numbers[list(legal).index(token_id)]
        rest, state = rest[len(known.token_bytes[token_id]) :], legal[token_id]
    return total


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
@pytest.mark.parametrize(
    ("answer", "of_one_token", "of_several"),
    [
        ("Effect of aspirin and iron.", 0.0, 0.0),
        ("Effect of <drug>aspirin</drug> and iron.", 7.0, 9.0),  # drug or not, then drug or drug_n
        ("Effect of <brand>aspirin</brand> and iron.", 5.0, 5.0),
        ("Effect of <drug_n>aspirin</drug_n> and <drug>iron</drug>.", 5.0, 7.0),  # begins like drug
        ("Effect of <drug>aspirin and iron</drug>.", 3.0, 5.0),
        ("<group>Effect of aspirin</group> and iron.", 4.0, 4.0),
        ("<group>Effect</group> of aspirin and iron.", 0.0, 0.0),
    ],
)
def test_decisions_at_a_name_get_its_numbers_and_others_nothing(
    vocabulary: str, rule: TokenRule, answer: str, of_one_token: float, of_several: float
) -> None:
    expected = of_one_token if vocabulary == "tag tokens" else of_several
    assert added(answer, [NAME], vocabulary, rule) == pytest.approx(expected)


numbers = st.floats(-50, 50).map(lambda x: round(x, 1))


@st.composite
def named_texts(draw: st.DrawFn) -> tuple[str, list[KnownName]]:
    """A text and known names in it, at any places between characters."""
    words = st.sampled_from(["iron", "a<b", "<drug>", "ß", "x-y", " ", "</drug>", "5-FU"])
    text = draw(st.one_of(st.text(max_size=25), st.lists(words, max_size=6).map(" ".join)))
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    names = [
        KnownName(
            len(text[:start].encode()),
            len(text[:end].encode()),
            draw(st.sampled_from(TYPES)),
            *(draw(numbers) for _ in range(3)),
        )
        for start, end in zip(places[::2], places[1::2], strict=False)
    ]
    return text, names


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(case=named_texts(), seed=st.integers(0, 1000), rule=st.sampled_from(["canonical", "any"]), b=numbers)
@settings(max_examples=40, deadline=None)
def test_whatever_is_added_answers_stay_legal_and_all_decoders_agree(
    vocabulary: str, case: tuple[str, list[KnownName]], seed: int, rule: TokenRule, b: float
) -> None:
    text, names = case
    known = VOCABULARIES[vocabulary]
    prior, bias = PlaceBias(names, MACHINE, known), TypeBias({"drug": b}, MACHINE, known)
    reference, drafted = (
        next(
            run_all(
                iter([decoder((7, 8), legal_tokens(text, vocabulary, rule), 4000, (), bias, prior=prior)]),
                FakeBackend(known, seeded_score(len(known), seed=seed), context_length=4096),
            )
        )
        for decoder in (stepwise, copy_draft)
    )
    assert drafted.token_ids == reference.token_ids
    assert drafted.choices == reference.choices
    assert Constraint(text, MACHINE).read(known.decode(reference.token_ids)) is not None


def test_a_prior_counts_in_the_confidence_and_says_where_it_decided() -> None:
    known = VOCABULARIES["tag tokens"]

    def answer(**of: PlaceBias) -> list[tuple[bool, float]]:
        decoder = stepwise((7, 8), legal_tokens(TEXT, "tag tokens"), 4000, **of)  # type: ignore[arg-type]
        found = next(
            run_all(iter([decoder]), FakeBackend(known, seeded_score(len(known)), context_length=4096))
        )
        assert ("aspirin" in known.decode(found.token_ids).decode().split("<drug>")[-1]) or not of
        return [(c.turned, c.log_probability) for c in found.choices if c is not None]

    strong = PlaceBias([KnownName(10, 17, "drug", opening=0.0, of_type=90.0)], MACHINE, known)
    turned = [log_probability for turned, log_probability in answer(prior=strong) if turned]
    assert len(turned) == 1
    assert turned[0] == pytest.approx(0.0, abs=1e-9)  # as sure as the prior is
    assert not any(turned for turned, _ in answer())
