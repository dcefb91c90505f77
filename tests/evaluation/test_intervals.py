"""Bootstrap intervals: the counts are the official ones, and the intervals those of a plain loop."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.evaluation import SentenceCounts, bootstrap, evaluate, paired_difference
from constrained_ner.formats.evaluator_lines import read_predictions

TYPES = ["brand", "drug", "group", "drug_n"]


def corpus(seed: int, n_sentences: int = 60) -> tuple[list[Sentence], list[tuple[str, Mention]]]:
    """Sentences of four names each at most, and predictions that are right two times in three."""
    chance = random.Random(seed)
    gold, predicted = [], []
    for n in range(n_sentences):
        mentions = [
            Mention((Span(10 * i, 10 * i + 4),), chance.choice(TYPES), "iron")
            for i in range(chance.randint(0, 4))
        ]
        gold.append(Sentence(f"s{n}", "", tuple(mentions)))
        kept = [m for m in mentions if chance.random() < 0.67]
        wrong = Mention((Span(50, 54),), chance.choice([*TYPES, "unknown"]), "zinc")
        predicted += [(f"s{n}", m) for m in [*kept, *([wrong] if chance.random() < 0.4 else [])]]
    return gold, predicted


def pairs(gold: list[Sentence]) -> list[tuple[str, Mention]]:
    return [(s.id, m) for s in gold for m in s.mentions]


@pytest.mark.parametrize("seed", range(3))
def test_counts_add_up_to_the_official_ones(seed: int) -> None:
    gold, predicted = corpus(seed)
    predicted.append(("elsewhere", Mention((Span(0, 4),), "drug", "iron")))
    counts, official = SentenceCounts.of(gold, predicted), evaluate(pairs(gold), predicted)
    assert counts.types == tuple(official.by_type)
    assert counts.counts.shape == (len(gold) + 1, len(counts.types) + 1, 3)
    sums = counts.counts.sum(axis=0)
    for name, row in zip(counts.types, sums, strict=False):
        assert tuple(row) == (official.by_type[name].tp, official.by_type[name].fp, official.by_type[name].fn)
    assert tuple(sums.sum(axis=0)) == (official.micro.tp, official.micro.fp, official.micro.fn)


def test_values_are_the_official_f1_and_lie_in_their_intervals() -> None:
    gold, predicted = corpus(0)
    intervals, official = bootstrap(SentenceCounts.of(gold, predicted)), evaluate(pairs(gold), predicted)
    assert intervals.micro.value == pytest.approx(official.micro.f1)
    assert intervals.macro.value == pytest.approx(official.macro.f1)
    for name, row in official.by_type.items():
        assert intervals.by_type[name].value == pytest.approx(row.f1)
    for interval in (intervals.micro, intervals.macro, *intervals.by_type.values()):
        assert 0 <= interval.low < interval.value < interval.high <= 1


def test_the_intervals_are_those_of_a_plain_loop() -> None:
    """Sentences drawn and evaluated one resample at a time, by the official evaluation itself."""
    gold, predicted = corpus(1, 30)
    found = bootstrap(SentenceCounts.of(gold, predicted), n_resamples=4000)
    generator = np.random.default_rng(5)
    by_id = {s.id: [m for i, m in predicted if i == s.id] for s in gold}
    micro, macro = [], []
    for _ in range(1500):
        drawn = [gold[i] for i in generator.integers(len(gold), size=len(gold))]
        resample = [(f"{n}", m) for n, s in enumerate(drawn) for m in s.mentions]
        result = evaluate(resample, [(f"{n}", m) for n, s in enumerate(drawn) for m in by_id[s.id]])
        micro.append(result.micro.f1)
        macro.append(result.macro.f1)
    for interval, figures in ((found.micro, micro), (found.macro, macro)):
        assert interval.low == pytest.approx(np.quantile(figures, 0.025), abs=0.015)
        assert interval.high == pytest.approx(np.quantile(figures, 0.975), abs=0.015)


def test_the_same_seed_gives_the_same_intervals_and_another_one_nearly() -> None:
    counts = SentenceCounts.of(*corpus(2))
    one, again, other = (bootstrap(counts, seed=seed) for seed in (3, 3, 4))
    assert one == again != other
    assert other.micro.low == pytest.approx(one.micro.low, abs=0.01)


def test_a_system_does_not_differ_from_itself() -> None:
    counts = SentenceCounts.of(*corpus(0))
    difference = paired_difference(counts, counts)
    assert (difference.micro.value, difference.micro.low, difference.micro.high) == (0, 0, 0)


def test_a_difference_has_its_sign_and_is_narrower_than_both_intervals() -> None:
    gold, predicted = corpus(0, 200)
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
    gold, predicted = corpus(0)
    extra = ("elsewhere", Mention((Span(0, 4),), "drug", "iron"))
    one, other = SentenceCounts.of(gold, predicted), SentenceCounts.of(gold, [*predicted, extra])
    assert paired_difference(one, other).micro.value > 0


def test_systems_of_different_gold_are_not_compared() -> None:
    gold, predicted = corpus(0)
    drugs = [Sentence(s.id, "", tuple(m for m in s.mentions if m.type == "drug")) for s in gold]
    with pytest.raises(ValueError, match="not of the same gold"):
        paired_difference(SentenceCounts.of(gold, predicted), SentenceCounts.of(drugs, predicted))


def test_gold_without_mentions_gives_zeros() -> None:
    intervals = bootstrap(SentenceCounts.of([Sentence("s", "")], []))
    assert (intervals.micro.value, intervals.macro.high, intervals.by_type) == (0, 0, {})


def test_tables_and_plain_data() -> None:
    intervals = bootstrap(SentenceCounts.of(*corpus(0)))
    assert len(intervals.table().splitlines()) == len(intervals.by_type) + 2
    assert intervals.as_dict()["micro"] == [intervals.micro.value, intervals.micro.low, intervals.micro.high]


def test_intervals_of_the_official_cases(shared: Path, gold: dict[str, list[Sentence]]) -> None:
    predicted = read_predictions(shared / "data/eval_cases/dropped.out")
    counts = SentenceCounts.of(gold["devel"], predicted)
    official = evaluate(pairs(gold["devel"]), predicted)
    assert bootstrap(counts, n_resamples=100).micro.value == pytest.approx(official.micro.f1)
