"""A model to fine-tune, and an adapter for it, made once for all tests of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetuning import PROMPT, SMALL, settings
from template_sentences import make_document, texts, write
from tiny_instruct import make_tiny_instruct

from constrained_ner.training.finetune.run import finetune


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a prompt, and sentences to learn from and to measure on."""
    folder = tmp_path_factory.mktemp("finetune")
    make_tiny_instruct(folder / "model", **SMALL)
    (folder / "prompt.json").write_text(json.dumps(PROMPT))
    train = write(make_document(160, seed=1), folder / "train.xml")
    write(make_document(40, seed=2, without=texts(train)), folder / "val.xml")
    return folder


@pytest.fixture(scope="session")
def tuned(folder: Path) -> Path:
    """An adapter trained with the loss over the legal tokens."""
    lines: list[str] = []
    record = finetune(settings(folder), folder / "tuned", lines.append)
    assert record.n_examples == 160
    assert len(record.epochs) == 5
    assert any(line.startswith("memory: about ") for line in lines)
    assert sum("constrained F1" in line for line in lines) == 5
    assert record.best["eval_micro_f1"] == max(e["eval_micro_f1"] for e in record.epochs)
    return folder / "tuned"
