"""Selecting sentences to train on."""

from __future__ import annotations

import pytest

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import (
    UserError,
)
from constrained_ner.training.finetune.selection import select

SOME = [
    Sentence(f"s{n}", "x", () if n % 4 == 0 else (Mention((Span(0, 1),), kind, "x"),))
    for n in range(40)
    for kind in ["drug_n" if n in (5, 21) else "drug"]
]


def test_the_same_seed_gives_the_same_sentences() -> None:
    for how in ("random", "balanced"):
        chosen = select(SOME, how, 12, seed=3)  # type: ignore[arg-type]
        assert chosen == select(SOME, how, 12, seed=3)  # type: ignore[arg-type]
        assert len(chosen) == 12
    assert select(SOME, "all", 3, seed=3) == SOME[:3]


def test_balanced_prefers_rare_types_and_keeps_the_share_without_names() -> None:
    chosen = select(SOME, "balanced", 12, seed=0)
    assert {"s5", "s21"} <= {s.id for s in chosen}
    assert sum(not s.mentions for s in chosen) == 3
    with pytest.raises(UserError, match="needs --max-examples"):
        select(SOME, "balanced", None, seed=0)
