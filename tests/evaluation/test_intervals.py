"""Bootstrap intervals: the counts are the official ones, and the intervals those of a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_corpora import random_corpus

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.evaluation import SentenceCounts, bootstrap, evaluate
from constrained_ner.formats.evaluator_lines import read_predictions


def pairs(gold: list[Sentence]) -> list[tuple[str, Mention]]:
    return [(s.id, m) for s in gold for m in s.mentions]


@pytest.mark.parametrize("seed", range(3))
def test_counts_add_up_to_the_official_ones(seed: int) -> None:
    gold, predicted = random_corpus(seed)
    predicted.append(("elsewhere", Mention((Span(0, 4),), "drug", "iron")))
    counts, official = SentenceCounts.of(gold, predicted), evaluate(pairs(gold), predicted)
    assert counts.types == tuple(official.by_type)
    assert counts.counts.shape == (len(gold) + 1, len(counts.types) + 1, 3)
    sums = counts.counts.sum(axis=0)
    for name, row in zip(counts.types, sums, strict=False):
        assert tuple(row) == (official.by_type[name].tp, official.by_type[name].fp, official.by_type[name].fn)
    assert tuple(sums.sum(axis=0)) == (official.micro.tp, official.micro.fp, official.micro.fn)


def test_values_are_the_official_f1_and_lie_in_their_intervals() -> None:
    gold, predicted = random_corpus(0)
    intervals, official = bootstrap(SentenceCounts.of(gold, predicted)), evaluate(pairs(gold), predicted)
    assert intervals.micro.value == pytest.approx(official.micro.f1)
    assert intervals.macro.value == pytest.approx(official.macro.f1)
    for name, row in official.by_type.items():
        assert intervals.by_type[name].value == pytest.approx(row.f1)
    for interval in (intervals.micro, intervals.macro, *intervals.by_type.values()):
        assert 0 <= interval.low < interval.value < interval.high <= 1


def test_the_intervals_are_those_of_a_plain_loop() -> None:
    """Sentences drawn and evaluated one resample at a time, by the official evaluation itself."""
    gold, predicted = random_corpus(1, 30)
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
    counts = SentenceCounts.of(*random_corpus(2))
    one, again, other = (bootstrap(counts, seed=seed) for seed in (3, 3, 4))
    assert one == again != other
    assert other.micro.low == pytest.approx(one.micro.low, abs=0.01)


def test_gold_without_mentions_gives_zeros() -> None:
    intervals = bootstrap(SentenceCounts.of([Sentence("s", "")], []))
    assert (intervals.micro.value, intervals.macro.high, intervals.by_type) == (0, 0, {})


def test_tables_and_plain_data() -> None:
    intervals = bootstrap(SentenceCounts.of(*random_corpus(0)))
    assert len(intervals.table().splitlines()) == len(intervals.by_type) + 2
    assert intervals.as_dict()["micro"] == [intervals.micro.value, intervals.micro.low, intervals.micro.high]


def test_intervals_of_the_official_cases(shared: Path, gold: dict[str, list[Sentence]]) -> None:
    predicted = read_predictions(shared / "data/eval_cases/dropped.out")
    counts = SentenceCounts.of(gold["devel"], predicted)
    official = evaluate(pairs(gold["devel"]), predicted)
    assert bootstrap(counts, n_resamples=100).micro.value == pytest.approx(official.micro.f1)
