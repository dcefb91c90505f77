"""What other corpora's marks teach: at each decision, which tokens are right and which are wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from finetuning import mention, target_writer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import SchemaError, UserError
from constrained_ner.schema import DDI
from constrained_ner.training.batches import Example, make_batch
from constrained_ner.training.losses import legal_question, outcome_cross_entropy
from constrained_ner.training.partial_labels import PartialLabels
from constrained_ner.training.targets import TargetWriter

TEXT = "BRAF and tyrosine with Lipitor today."
SENTENCE = Sentence(
    "s",
    TEXT,
    (
        mention(TEXT, "BRAF", "GENE"),
        mention(TEXT, "tyrosine", "CHEMICAL"),
        mention(TEXT, "Lipitor", "PRODUCT"),
    ),
)
MEANINGS = {"GENE": "none", "CHEMICAL": "unknown", "PRODUCT": "brand+drug"}


@pytest.fixture(scope="module")
def targets(folder: Path) -> TargetWriter:
    return target_writer(folder)


def labels(**changes: str) -> PartialLabels:
    return PartialLabels.parse({**MEANINGS, **changes}, DDI)


def answer(targets: TargetWriter, example: Example) -> str:
    return targets.vocabulary.decode(example.ids[example.n_prompt : -1]).decode()


def decided_at(targets: TargetWriter, example: Example) -> dict[int, list[str]]:
    """Characters of the answer before each decision -> the right tokens there."""
    token_bytes = targets.vocabulary.token_bytes
    return {
        sum(len(token_bytes[i]) for i in example.ids[example.n_prompt : d.position]): [
            token_bytes[i].decode(errors="replace") for i in d.legal[: d.n_right]
        ]
        for d in example.decisions
    }


def test_a_name_is_written_with_its_first_possible_type(targets: TargetWriter) -> None:
    example = targets.write(SENTENCE, labels(**{"*": "none"}))
    assert answer(targets, example) == "BRAF and tyrosine with <brand>Lipitor</brand> today."


def test_where_all_is_known_it_is_the_plain_example(targets: TargetWriter) -> None:
    own = Sentence("s", TEXT, (mention(TEXT, "Lipitor", "brand"),))
    all_known = PartialLabels.parse({"brand": "brand", "*": "none"}, DDI)
    assert targets.write(own, all_known) == targets.write(own)


def test_nothing_is_learnt_where_nothing_is_known(targets: TargetWriter) -> None:
    known = targets.write(SENTENCE, labels(**{"*": "none", "CHEMICAL": "none"}))
    example = targets.write(SENTENCE, labels(**{"*": "none"}))
    chemical = range(TEXT.index("tyrosine"), TEXT.index("tyrosine") + len("tyrosine"))
    assert any(at in chemical or at + 1 in chemical for at in decided_at(targets, known))
    assert len(example.decisions) < len(known.decisions)
    at_gene = decided_at(targets, example)[0]
    assert len(at_gene) == 1
    assert "<" not in at_gene[0]


def test_of_unmarked_text_nothing_is_learnt_unless_it_is_said(targets: TargetWriter) -> None:
    example = targets.write(SENTENCE, labels())
    places = decided_at(targets, example)
    # in the gene, and from the opening of the certain name to its end
    opens, ends = TEXT.index("Lipitor"), TEXT.index("Lipitor") + len("<brand>Lipitor</brand>")
    assert all(at < len("BRAF") or opens - 1 <= at < ends for at in places)
    assert any(opens - 1 <= at < ends for at in places)


def test_either_possible_type_is_right_and_no_other(targets: TargetWriter) -> None:
    example = targets.write(SENTENCE, labels(**{"*": "none"}))
    token_bytes = targets.vocabulary.token_bytes
    sets = [
        (
            {token_bytes[i].strip().strip(b"<>") for i in d.legal[: d.n_right]},
            {token_bytes[i].strip().strip(b"<>") for i in d.legal[d.n_right :]},
        )
        for d in example.decisions
        if d.n_right > 1
    ]
    assert len(sets) == 1
    ((right, wrong),) = sets
    assert any(b"brand".startswith(r) for r in right if r)
    assert any(b"drug".startswith(r) for r in right if r)
    assert any(b"group".startswith(w) for w in wrong if w)


def test_what_is_not_certain_is_not_predicted_over_the_vocabulary(targets: TargetWriter) -> None:
    example = targets.write(SENTENCE, labels(**{"*": "none"}))
    assert example.unpredicted
    batch = make_batch([example], pad=0)
    assert {p + 1 for p in batch.answer.tolist()}.isdisjoint(example.unpredicted)


def test_a_name_that_tags_cannot_express_is_unknown(targets: TargetWriter) -> None:
    cut = Sentence("s", "Lipitors", (Mention((Span(0, 7),), "PRODUCT", "Lipitor"),))
    assert not targets.write(cut, labels()).decisions


def test_a_type_without_a_meaning_and_a_meaning_that_is_none_are_named() -> None:
    with pytest.raises(SchemaError, match=r"f\.jsonl: no meaning for its type CELL; say one of CELL=none"):
        labels().require([Sentence("s", "HeLa", (Mention((Span(0, 4),), "CELL", "HeLa"),))], "f.jsonl")
    with pytest.raises(UserError, match="GENE=protein: 'protein' is neither none, unknown nor one of drug"):
        labels(GENE="protein")
    with pytest.raises(UserError, match=r"\*=drug: text that is not marked is none or unknown"):
        labels(**{"*": "drug"})


# ---- the loss over sets


def sides(n_right: list[int], most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Outcomes and what is expected of them: that it is one of the first few."""
    outcomes = torch.tensor([[0] * n + [1] * (most - n) for n in n_right])
    return outcomes, torch.tensor([[1.0] + [0.0] * (most - 1)] * len(n_right), dtype=torch.float64)


@given(
    scores=arrays.arrays("float64", (4, 5), elements=st.floats(-20, 20)),
    n_right=st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
def test_the_loss_is_minus_the_log_of_the_sum_of_all_right_probabilities(
    scores: object, n_right: list[int]
) -> None:
    given_scores = torch.tensor(scores)
    found = outcome_cross_entropy(given_scores, *sides(n_right, 5))
    for row, n, loss in zip(given_scores.softmax(-1), n_right, found, strict=True):
        assert float(loss) == pytest.approx(-math.log(float(row[:n].sum())), abs=1e-9)
        assert float(loss) >= -1e-12


def test_padding_and_one_right_answer_give_the_cross_entropy_and_a_finite_gradient() -> None:
    scores = torch.tensor([[1.0, 2.0, -math.inf], [0.5, 0.1, 0.3]], requires_grad=True)
    loss = outcome_cross_entropy(scores, *sides([1, 2], 3))
    assert float(loss[0].detach()) == pytest.approx(-math.log(math.e / (math.e + math.e**2)))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert float(scores.grad[0].sum()) == pytest.approx(0.0, abs=1e-6)


def test_a_batch_keeps_how_many_are_right(targets: TargetWriter) -> None:
    examples = [
        targets.write(SENTENCE, labels(**{"*": "none"})),
        targets.write(Sentence("t", "Take aspirin.")),
    ]
    question = legal_question(make_batch(examples, pad=0))
    n_right = (question.few_outcomes == 0).sum(dim=1).tolist()
    assert n_right == [d.n_right for e in examples for d in e.decisions]
    assert max(n_right) > 1
