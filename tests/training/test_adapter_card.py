"""An adapter's card: what does not fit its training is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from finetuning import SMALL
from tiny_instruct import make_tiny_instruct

from constrained_ner import Annotator
from constrained_ner.adapters import AdapterCard
from constrained_ner.errors import (
    InputError,
    ModelError,
)
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI


def test_another_base_is_refused_by_name(folder: Path, tuned: Path, tmp_path: Path) -> None:
    other = make_tiny_instruct(tmp_path / "other", seed=7, **SMALL)
    with pytest.raises(
        ModelError, match=r"with base model .* \([0-9a-f]{12}\), this run uses .* \([0-9a-f]{12}\); "
    ):
        Annotator.load(other, adapter=str(tuned), device="cpu")
    Annotator.load(other, adapter=str(tuned), device="cpu", force=True).close()


def test_another_prompt_or_schema_is_refused_by_name(folder: Path, tuned: Path) -> None:
    with pytest.raises(
        ModelError, match=r"adapter was trained with prompt custom \(\w+\), this run uses plain \("
    ):
        Annotator.load(folder / "model", adapter=str(tuned), prompt=PromptFile.built_in(), device="cpu")
    fewer = DDI.model_copy(update={"types": DDI.types[:2]})
    with pytest.raises(ModelError, match="types drug, brand, group, drug_n, this run uses drug, brand;"):
        Annotator.load(folder / "model", adapter=str(tuned), schema=fewer, device="cpu")


def test_a_card_changed_by_hand_is_refused(tuned: Path, tmp_path: Path) -> None:
    card = json.loads((tuned / "constrained-ner.json").read_text())
    card["prompt"]["sysprompt"] = ["other"]
    (tmp_path / "constrained-ner.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="changed by hand"):
        AdapterCard.load(tmp_path)


def test_a_warning_if_it_never_learnt_to_copy(folder: Path, tuned: Path) -> None:
    notes: list[str] = []
    options: dict[str, Any] = {"adapter": str(tuned), "device": "cpu", "notify": notes.append}
    Annotator.load(folder / "model", constrained=False, **options).close()
    assert "trained with --loss legal" in notes.pop()
    Annotator.load(folder / "model", **options).close()
    assert not notes


def test_an_adapter_made_elsewhere_has_no_card(tmp_path: Path) -> None:
    assert AdapterCard.load(tmp_path) is None
