"""Names by longest match, learnt and forgotten."""

from __future__ import annotations

from constrained_ner.annotation.lexicon import Lexicon, key_of
from constrained_ner.data import Mention, Sentence, Span


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
