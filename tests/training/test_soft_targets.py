"""A teacher's marks become the same expectations, whatever tokens the student has."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from constrained_ner.constraint.edges import CLOSE, OPEN, edges
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.schema import DDI
from constrained_ner.training.batches import Decision, Example, make_batch
from constrained_ner.training.bundled_model.marks import Marks, either, read_marks
from constrained_ner.training.bundled_model.soft_targets import seen_alike, soft_example
from constrained_ner.training.bundled_model.tokenizer import ModelTokenizer, train_tokenizer
from constrained_ner.training.losses import legal_set_loss

WORDS = [
    "aspirin",
    "beta-blockers",
    "(MPTP)",
    "the",
    "x",
    "naïve",
    "5-HT3",
    "and",
    "of",
    "5%,",
    "co-trimoxazole.",
]
LITTLE, MORE = (train_tokenizer([" ".join(WORDS)] * 3, size=size) for size in (300, 420))
PROBABILITY = st.floats(0.01, 0.99)


@st.composite
def marked_sentences(draw: st.DrawFn) -> Marks:
    """A sentence with names, and a teacher's probability at every place where a tag may stand."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8))
    text = " ".join(words)
    flags = edges(text, "word")
    mentions: list[Mention] = []
    opens, closes, types = {}, {}, {}
    open_at: int | None = None
    for place in range(len(text) + 1):
        if open_at is not None and flags[place] & CLOSE and place > open_at:
            closes[place] = draw(PROBABILITY)
            later = any(flags[p] & CLOSE for p in range(place + 1, len(text) + 1))
            if not later or draw(st.booleans()):
                kind = draw(st.sampled_from(DDI.type_names))
                mentions.append(Mention((Span(open_at, place),), kind, text[open_at:place]))
                if not later:
                    del closes[place]  # nothing else is legal
                open_at = None
        if open_at is None and place < len(text) and flags[place] & OPEN:
            opens[place] = draw(PROBABILITY)
            if draw(st.booleans()) and any(flags[p] & CLOSE for p in range(place + 1, len(text) + 1)):
                open_at = place
                shares = [draw(PROBABILITY) for _ in DDI.type_names]
                types[place] = {t: s / sum(shares) for t, s in zip(DDI.type_names, shares, strict=True)}
    return Marks(Sentence("s", text, tuple(mentions)), True, opens, types, closes)


def expected_of_written(example: Example) -> float:
    """Log probability of the written answer, by the expectations of its decisions."""
    return sum(log(d.expected[d.outcomes[0]]) for d in example.decisions if d.expected)


def by_place(marks: Marks) -> float:
    """The same from the marks alone."""
    total = 0.0
    starts = {m.start: m.type for m in marks.sentence.mentions}
    for place, p in marks.opens.items():
        total += log(p * marks.types[place][starts[place]]) if place in starts else log(1 - p)
    for place, p in marks.closes.items():
        total += log(p) if any(m.end == place for m in marks.sentence.mentions) else log(1 - p)
    return total


@settings(max_examples=150, deadline=None)
@given(marked_sentences(), st.sampled_from([LITTLE, MORE]))
def test_every_tokenizer_gives_the_answer_the_teacher_s_probability(
    marks: Marks, tokenizer: ModelTokenizer
) -> None:
    example = soft_example(marks, tokenizer.target_writer(DDI))
    for decision in example.decisions:
        assert len(decision.outcomes) == len(decision.legal)
        assert sum(decision.expected) == pytest.approx(1.0, abs=1e-6)
        assert set(decision.outcomes) == set(range(len(decision.expected)))
    assert expected_of_written(example) == pytest.approx(by_place(marks), abs=1e-6)


def test_types_that_the_teacher_did_not_tell_share_an_outcome() -> None:
    marks = Marks(Sentence("s", "Take aspirin."), True, {0: 0.1, 5: 0.3, 12: 0.0}, {}, {})
    example = soft_example(marks, MORE.target_writer(DDI))
    decision = next(d for d in example.decisions if 0.3 in [round(p, 6) for p in d.expected])
    tags = MORE.tags(DDI).open_after_space
    shared = {decision.outcomes[decision.legal.index(tag)] for tag in tags}
    assert len(shared) == 1
    assert decision.expected[shared.pop()] == pytest.approx(0.3)


def test_where_the_teacher_did_not_look_the_written_token_is_right() -> None:
    marks = Marks(Sentence("s", "Take aspirin."), True, {}, {}, {})
    example = soft_example(marks, MORE.target_writer(DDI))
    assert all(not d.expected and not d.outcomes for d in example.decisions)


def test_a_sentence_that_the_student_would_see_otherwise_is_left_out() -> None:
    marks = [Marks(Sentence("s", f"Take{blank}aspirin."), True, {}, {}, {}) for blank in " \u00a0"]
    assert list(seen_alike(marks)) == marks[:1]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1))))
def test_chances_at_one_place_add_up_to_a_probability(chances: list[tuple[int, float]]) -> None:
    found = either(chances)
    assert all(0 <= p <= 1 for p in found.values())
    for place, p in chances:
        assert found[place] >= p - 1e-12


@settings(max_examples=30, deadline=None)
@given(marked_sentences())
def test_marks_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, marks: Marks) -> None:
    path = tmp_path_factory.mktemp("marks") / "marks.jsonl"
    path.write_text(
        marks.to_json() + "\n" + marks.to_json().replace('"agreed": true', '"agreed": false') + "\n"
    )
    (read,) = read_marks(path)
    assert read.sentence == marks.sentence
    assert read.opens == pytest.approx(dict(marks.opens), abs=1e-5)
    assert read.closes == pytest.approx(dict(marks.closes), abs=1e-5)


def test_a_line_that_is_no_marks_is_named(tmp_path: Path) -> None:
    (tmp_path / "marks.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(InputError, match=r"marks\.jsonl: line 1: not a teacher's marks"):
        read_marks(tmp_path / "marks.jsonl")


OUTCOMES = st.lists(st.integers(0, 3), min_size=2, max_size=5)


@settings(deadline=None)
@given(OUTCOMES, st.integers(0, 2**31))
def test_the_loss_is_the_cross_entropy_of_the_outcomes(outcomes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    numbers = {outcome: n for n, outcome in enumerate(dict.fromkeys(outcomes))}
    of_token = tuple(numbers[o] for o in outcomes)
    expected = torch.rand(len(numbers)).softmax(0)
    decision = Decision(1, tuple(range(len(outcomes))), of_token, tuple(expected.tolist()))
    batch = make_batch([Example((0, 0, 0), 1, (decision,))], pad=0)
    hidden, rows = torch.randn(3, 4), torch.randn(len(outcomes), 4)
    p = (rows @ hidden[0]).softmax(0)
    sums = torch.tensor([sum(p[i] for i, o in enumerate(of_token) if o == n) for n in range(len(numbers))])
    assert float(legal_set_loss(hidden, rows, batch)) == pytest.approx(
        float(-(expected * sums.log()).sum()), abs=1e-5
    )


def test_without_a_teacher_the_written_token_is_right() -> None:
    hidden, rows = torch.randn(3, 4), torch.randn(5, 4)
    decision = Decision(1, (3, 0, 4))
    batch = make_batch([Example((0, 0, 0), 1, (decision, Decision(2, (1, 2))))], pad=0)
    logits = rows @ hidden[0]
    first = logits[[3, 0, 4]].logsumexp(0) - logits[3]
    logits = rows @ hidden[1]
    second = logits[[1, 2]].logsumexp(0) - logits[1]
    assert float(legal_set_loss(hidden, rows, batch)) == pytest.approx(float((first + second) / 2), abs=1e-5)
