"""Any order of prefill, keep and append gives the scores of a model that saw only the kept tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from constrained_ner.backends.protocol import LogitsBackend, Scores, Step


def assert_scores_equal(found: Scores, expected: Scores, tolerance: float) -> None:
    np.testing.assert_allclose(found.logits, expected.logits, atol=tolerance, rtol=tolerance)
    assert abs(found.logsumexp - expected.logsumexp) <= tolerance * (1 + abs(expected.logsumexp))
    assert found.logits.dtype == np.float32


def check_interleaving(
    backend: LogitsBackend,
    expected_row: Callable[[tuple[int, ...]], np.ndarray],
    *,
    seed: int,
    n_rounds: int = 12,
    token_ids: Sequence[int] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Drive the back end at random; compare each watched position with `expected_row(all tokens so far)`."""
    chance = random.Random(seed)
    ids = list(token_ids or range(len(backend.vocabulary)))
    prefix: list[int] = []
    slots: list[list[int]] = [[] for _ in range(backend.max_sequences)]
    for round_number in range(n_rounds):
        if round_number == 0 or chance.random() < 0.2:
            shared = prefix[: chance.randint(0, len(prefix))]
            prefix = [*shared, *chance.choices(ids, k=chance.randint(0, 9))]
            backend.prefill(prefix)
            slots = [[] for _ in slots]
        steps = []
        for slot in chance.sample(range(len(slots)), k=chance.randint(1, len(slots))):
            keep = chance.randint(0, len(slots[slot]))
            appended = chance.choices(ids, k=chance.randint(1, 7))
            watch = [chance.choice([None, (), chance.choices(ids, k=chance.randint(1, 4))]) for _ in appended]
            del slots[slot][keep:]
            slots[slot] += appended
            steps.append(Step(slot, keep, appended, watch))
        for step, answer in zip(steps, backend.forward(steps), strict=True):
            assert len(answer) == len(step.token_ids)
            for at, (watch, scores) in enumerate(zip(step.watch, answer, strict=True)):
                assert (watch is None) == (scores is None)
                if watch is None or scores is None:
                    continue
                row = expected_row((*prefix, *slots[step.sequence][: step.keep + at + 1])).astype(np.float64)
                peak = row.max()
                logsumexp = float(peak + np.log(np.exp(row - peak).sum()))
                expected = Scores(row[list(watch)].astype(np.float32), logsumexp, int(row.argmax()))
                assert_scores_equal(scores, expected, tolerance)
                assert row[scores.best] >= peak - tolerance * (1 + abs(peak))


def check_that_no_bit_depends_on_the_cut(
    backend: LogitsBackend, ids: Sequence[int], watch: Sequence[int]
) -> None:
    """The same tokens in steps of any length, one token included, some of them watched: the same bits.

    backend: has three slots. In the last one, tokens that are rejected stand between the steps.
    """
    whole = backend.forward([Step(0, 0, ids, [watch] * len(ids))])[0]
    chance = random.Random(0)
    for slot in (1, 2):
        at = 0
        while at < len(ids):
            step = min(chance.choice([1, 1, 2, 3, 4, 5, 8, 16, 17]), len(ids) - at)
            watches = [watch if chance.random() < 0.5 else None for _ in range(step)]
            if slot == 2:  # rejected tokens leave no trace
                backend.forward([Step(slot, at, chance.choices(ids, k=9), [None] * 9)])
            answers = backend.forward([Step(slot, at, ids[at : at + step], watches)])[0]
            for scores, expected in zip(answers, whole[at : at + step], strict=True):
                if scores is not None and expected is not None:
                    np.testing.assert_array_equal(scores.logits, expected.logits)
            at += step
