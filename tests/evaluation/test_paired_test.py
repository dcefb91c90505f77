"""The paired difference of two systems: its sign, its width, and what cannot be compared."""

from __future__ import annotations

import random

import pytest
from random_corpora import random_corpus

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.evaluation import SentenceCounts, bootstrap, paired_difference


def test_a_system_does_not_differ_from_itself() -> None:
    counts = SentenceCounts.of(*random_corpus(0))
    difference = paired_difference(counts, counts)
    assert (difference.micro.value, difference.micro.low, difference.micro.high) == (0, 0, 0)


def test_a_difference_has_its_sign_and_is_narrower_than_both_intervals() -> None:
    gold, predicted = random_corpus(0, 200)
    chance = random.Random(0)
    worse = [p for p in predicted if chance.random() < 0.95]
    better_counts, worse_counts = (SentenceCounts.of(gold, p) for p in (predicted, worse))
    there, back = (
        paired_difference(better_counts, worse_counts),
        paired_difference(worse_counts, better_counts),
    )
    assert there.micro.value == -back.micro.value > 0
    assert there.micro.low == pytest.approx(-back.micro.high)
    alone = bootstrap(better_counts).micro
    assert there.micro.high - there.micro.low < (alone.high - alone.low) / 2


def test_predictions_of_unknown_sentences_do_not_keep_systems_from_being_compared() -> None:
    gold, predicted = random_corpus(0)
    extra = ("elsewhere", Mention((Span(0, 4),), "drug", "iron"))
    one, other = SentenceCounts.of(gold, predicted), SentenceCounts.of(gold, [*predicted, extra])
    assert paired_difference(one, other).micro.value > 0


def test_systems_of_different_gold_are_not_compared() -> None:
    gold, predicted = random_corpus(0)
    drugs = [Sentence(s.id, "", tuple(m for m in s.mentions if m.type == "drug")) for s in gold]
    with pytest.raises(ValueError, match="different gold"):
        paired_difference(SentenceCounts.of(gold, predicted), SentenceCounts.of(drugs, predicted))
