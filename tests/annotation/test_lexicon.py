"""Names by longest match, learnt and forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import tag_token_vocabulary

from constrained_ner import Annotator
from constrained_ner.annotation import given as given_module
from constrained_ner.annotation.lexicon import PUBLIC_NAMES, Lexicon, key_of, public_names
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.formats.name_lines import read_names


def found(lexicon: Lexicon, text: str) -> list[tuple[str, str]]:
    return [(m.text, m.type) for m in lexicon.tag(text)]


def marked(text: str, *names: tuple[str, str]) -> Sentence:
    places = [(text.index(name), name, kind) for name, kind in names]
    return Sentence("s", text, tuple(Mention((Span(at, at + len(n)),), k, n) for at, n, k in places))


def test_the_longest_name_wins_whatever_its_case_and_spacing() -> None:
    lexicon = Lexicon({key_of("beta-blockers"): "group", key_of("beta"): "drug", key_of("Advil PM"): "brand"})
    assert found(lexicon, "BETA-blockers, beta, advil  pm; betas") == [
        ("BETA-blockers", "group"),
        ("beta", "drug"),
        ("advil  pm", "brand"),
    ]


def test_what_was_marked_is_expected_again_and_what_was_not_is_forgotten() -> None:
    lexicon = Lexicon({key_of("iron"): "drug"})
    lexicon.learn(marked("Iron, iron and aspirin.", ("aspirin", "drug")))
    assert found(lexicon, "Aspirin with iron") == [("Aspirin", "drug")]
    lexicon.learn(marked("Aspirin is a brand here.", ("Aspirin", "brand")))
    assert found(lexicon, "aspirin") == [("aspirin", "brand")]
    lexicon.learn(marked("No aspirin."))
    assert found(lexicon, "aspirin") == []


def test_case_counts_for_names_that_are_words() -> None:
    lexicon = Lexicon()
    lexicon.learn(marked("Release of NO and Advil.", ("NO", "drug"), ("Advil", "brand")))
    assert found(lexicon, "There is no ADVIL, but NO.") == [("ADVIL", "brand"), ("NO", "drug")]


# ---- the public names


def test_public_names_are_drugs_and_brands_of_four_letters_at_least() -> None:
    pairs = read_names(PUBLIC_NAMES)
    assert len(pairs) > 12_000
    assert {kind for _, kind in pairs} == {"drug", "brand"}
    assert all(sum(map(str.isalpha, name)) >= 4 and name[0].isalnum() for name, _ in pairs)
    credit = PUBLIC_NAMES.with_name("README.md").read_text()
    assert all(source in credit for source in ("Drugs@FDA", "RxNorm", "MedlinePlus"))


def test_public_names_are_those_of_the_schema() -> None:
    assert [(m.text, m.type) for m in public_names(["drug", "brand"]).tag("Advil and ibuprofen")] == [
        ("Advil", "brand"),
        ("ibuprofen", "drug"),
    ]
    assert [m.text for m in public_names(["drug"]).tag("Advil and ibuprofen")] == ["ibuprofen"]
    assert public_names(["gene"]).tag("Advil and ibuprofen") == []


TEXT = "Advil, aspirin and ibuprofen with warfarin."
VOCABULARY = tag_token_vocabulary()


def test_public_names_are_read_when_a_run_that_drafts_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(given_module, "public_names", lambda types: read.append(types) or Lexicon())
    for options in ({"names": ()}, {"decoder": "stepwise"}, {"constrained": False}):
        Annotator(FakeBackend(VOCABULARY), **options).annotate(TEXT)
    ner = Annotator(FakeBackend(VOCABULARY))
    assert not read
    ner.annotate(TEXT)
    ner.annotate(TEXT)
    assert len(read) == 1


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    horizon=st.none() | st.integers(1, 20),
    names=st.lists(st.sampled_from(["Advil", "aspirin", "Aspirin", "with", "warfarin", "and"]), min_size=1),
)
def test_public_names_never_change_an_answer(seed: int, horizon: int | None, names: list[str]) -> None:
    texts = [f"{name} for {TEXT}" for name in names]
    score = seeded_score(len(VOCABULARY), seed=seed, scale=3.0)
    with_names, without = (
        list(Annotator(FakeBackend(VOCABULARY, score, draft_horizon=horizon), **options).annotate_many(texts))
        for options in ({}, {"names": ()})
    )
    assert with_names == without
