"""A bias of places for lists: which tokens get it, and that it changes only what is listed."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routines import run_all
from test_place_bias import named_texts, numbers
from vocabularies import byte_level_vocabulary, byte_vocabulary

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.answer_form import AnswerTokens, answer_form
from constrained_ner.constraint.legal import END, TokenRule
from constrained_ner.constraint.list_place_bias import ListPlaceBias
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.place_bias import KnownName
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.schema import DDI
from constrained_ner.vocabulary import Vocabulary

VOCABULARIES = {"bytes": byte_vocabulary, "byte-level": byte_level_vocabulary}
TEXT = "Effect of aspirin and iron, or aspirin."
ASPIRIN, AGAIN = (KnownName(at, at + 7, "drug", opening=1.0, of_type=2.0, closing=4.0) for at in (10, 31))
IRON = KnownName(22, 26, "brand", opening=16.0, of_type=32.0, closing=64.0)


@cache
def vocabulary_of(name: str) -> Vocabulary:
    return VOCABULARIES[name]()


@cache
def tokens_of(name: str, occurrences: bool = False) -> AnswerTokens:
    return answer_form("list", Markup(DDI), occurrences=occurrences).spelt(vocabulary_of(name))


def added(answer: str, names: list[KnownName], name: str, rule: TokenRule, occurrences: bool) -> float:
    """The sum of what is added to an answer's tokens, the longest that are legal, and to its end."""
    known, tokens = vocabulary_of(name), tokens_of(name, occurrences)
    legal_tokens, bias = tokens.of(TEXT, rule), tokens.place_bias(names, TEXT)
    state, rest, total = legal_tokens.start, answer.encode(), 0.0
    while state != END:
        legal = legal_tokens.legal(state)
        fitting = [i for i, s in legal.items() if s != END and rest.startswith(known.token_bytes[i])]
        ends = [i for i, s in legal.items() if s == END]
        token_id = max(fitting, key=lambda i: len(known.token_bytes[i])) if rest else ends[0]
        added_here = bias.of(state, legal)
        total += 0.0 if added_here is None else added_here[list(legal).index(token_id)]
        rest, state = rest[len(known.token_bytes[token_id]) :] if rest else rest, legal[token_id]
    return total


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("none", 0.0),
        ("aspirin = drug", 1 + 4 + 2 + 2),  # begun, ended, drug or drug_n, then drug
        ("aspirin = drug_n", 1 + 4 + 2),
        ("aspirin = group", 1 + 4),
        ("aspirin and iron = brand", 1 + 64 + 32),
        ("Effect = drug; iron = brand", 16 + 16 + 64 + 32),  # of what is to come, the likeliest counts
        ("iron = brand; or = drug", 16 + 64 + 32),  # its second place is no reason to list aspirin again
    ],
)
def test_an_entry_that_is_a_known_name_gets_its_numbers(
    name: str, rule: TokenRule, answer: str, expected: float
) -> None:
    assert added(answer, [ASPIRIN, IRON, AGAIN], name, rule, False) == pytest.approx(expected)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_with_occurrences_every_place_counts(name: str) -> None:
    assert added("iron = group; aspirin (2) = drug", [ASPIRIN, IRON, AGAIN], name, "canonical", True) == (
        16 + 64 + 1 + 1 + 4 + 2 + 2
    )


@pytest.mark.parametrize("name", VOCABULARIES)
@given(
    case=named_texts(),
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["canonical", "any"]),
    occurrences=st.booleans(),
    b=numbers,
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_added_lists_stay_legal_and_all_decoders_agree(
    name: str,
    case: tuple[str, list[KnownName]],
    seed: int,
    rule: TokenRule,
    occurrences: bool,
    b: float,
) -> None:
    text, names = case
    known, tokens = vocabulary_of(name), tokens_of(name, occurrences)
    prior, bias = tokens.place_bias(names, text), tokens.bias({"drug": b})
    assert isinstance(prior, ListPlaceBias)
    reference, drafted = (
        next(
            run_all(
                iter([decoder((7, 8), tokens.of(text, rule), 4000, (), bias, prior=prior)]),
                FakeBackend(known, seeded_score(len(known), seed=seed), context_length=4096),
            )
        )
        for decoder in (stepwise, copy_draft)
    )
    assert drafted.token_ids == reference.token_ids
    assert drafted.choices == reference.choices
    assert tokens.of(text, rule).constraint.read(known.decode(reference.token_ids)) is not None
