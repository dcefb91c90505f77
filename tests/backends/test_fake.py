"""The fake keeps what a cache would keep, and rejects what no back end could do."""

from __future__ import annotations

import numpy as np
import pytest
from interleavings import check_interleaving

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import LogitsBackend, Step
from constrained_ner.vocabulary import Vocabulary


@pytest.fixture
def letters() -> Vocabulary:
    """One token per byte, and an end."""
    pieces = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    return Vocabulary(pieces, control_ids=[256], stop_ids=[256], tokenize=lambda text: list(text.encode()))


@pytest.mark.parametrize("seed", range(20))
def test_any_interleaving_gives_the_scores_of_the_kept_tokens(letters: Vocabulary, seed: int) -> None:
    backend = FakeBackend(letters, max_sequences=3)
    check_interleaving(backend, seeded_score(len(letters)), seed=seed)


def test_it_is_a_logits_backend(letters: Vocabulary) -> None:
    backend: LogitsBackend = FakeBackend(letters)
    assert backend.chat_template is None
    assert backend.shows_logits
    assert not backend.thread_safe


def test_scores_come_from_the_callable_and_sum_up_the_whole_vocabulary(letters: Vocabulary) -> None:
    backend = FakeBackend(letters, lambda ids: np.arange(257, dtype=np.float32) * len(ids) / 100)
    backend.prefill([1, 2])
    [[nothing, scores]] = backend.forward([Step(0, 0, [7, 8], [None, [0, 256]])])
    assert nothing is None
    assert scores is not None
    row = np.arange(257) * 4 / 100
    np.testing.assert_allclose(scores.logits, row[[0, 256]], rtol=1e-6)
    assert scores.best == 256
    assert scores.logsumexp == pytest.approx(np.log(np.exp(row).sum()), abs=1e-5)


def test_a_step_without_a_summary_has_the_same_logits_and_nothing_else(letters: Vocabulary) -> None:
    backend = FakeBackend(letters)
    steps = [Step(n, 0, [7, 8], [[1], [0, 256]], summary) for n, summary in enumerate((True, False))]
    with_summary, without = backend.forward(steps)
    for one, other in zip(with_summary, without, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.logits, other.logits)
        assert one.best is not None
        assert (other.logsumexp, other.best) == (None, None)


def test_the_lowest_of_equal_ids_is_best(letters: Vocabulary) -> None:
    backend = FakeBackend(letters, lambda ids: np.zeros(257, dtype=np.float32))
    [[scores]] = backend.forward([Step(0, 0, [7], [()])])
    assert scores is not None
    assert (scores.best, scores.logits.shape) == (0, (0,))


def test_it_counts_passes_and_tokens(letters: Vocabulary) -> None:
    backend = FakeBackend(letters)
    backend.prefill([1, 2, 3])
    backend.forward([Step(0, 0, [7, 8], [None, None]), Step(2, 0, [9], [None])])
    backend.forward([Step(0, 1, [7], [None])])
    assert (backend.n_passes, backend.n_tokens, backend.n_prefilled) == (2, 4, 3)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Step(0, 0, [1], [None]), Step(0, 0, [1], [None])], "two steps for one slot"),
        ([Step(4, 0, [1], [None])], "slot 4 of 4"),
        ([Step(0, 1, [1], [None])], "keep 1 of 0 tokens"),
        ([Step(0, 0, [], [])], "0 tokens, 0 watches"),
        ([Step(0, 0, [1, 2], [None])], "2 tokens, 1 watches"),
        ([Step(0, 0, [1] * 9, [None] * 9)], "more than 10 tokens"),
    ],
)
def test_impossible_steps_are_refused(letters: Vocabulary, steps: list[Step], message: str) -> None:
    backend = FakeBackend(letters, context_length=10)
    backend.prefill([1, 2])
    with pytest.raises(ValueError, match=message):
        backend.forward(steps)


def test_a_prefix_must_leave_room(letters: Vocabulary) -> None:
    with pytest.raises(ValueError, match="a prefix of 10 tokens in a context of 10"):
        FakeBackend(letters, context_length=10).prefill([1] * 10)
