"""The memory that a fine-tuning takes: the estimate, and what is said when it runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from constrained_ner.backends.transformers.model import load_tokenizer
from constrained_ner.errors import (
    ModelError,
    OutOfMemoryError,
)
from constrained_ner.training.finetune.adapter import Lora, load_for_training
from constrained_ner.training.finetune.memory_estimate import ModelShape, Workload, estimate, savings
from constrained_ner.training.finetune.run import memory_errors


def test_memory_is_estimated_from_the_configuration(folder: Path) -> None:
    config, _ = load_tokenizer(str(folder / "model"))
    shape = ModelShape.of(config)
    adapted = load_for_training(
        str(folder / "model"),
        Lora(rank=8, dropout=0.0),
        quantize=None,
        device=torch.device("cpu"),
        checkpointing=False,
    )
    load = Workload(
        8,
        None,
        4,
        checkpointing=False,
        dropout=False,
        on_gpu=False,
        n_sequences=4,
        n_tokens=800,
        n_columns=200,
        n_whole=200,
    )
    trained, everything = adapted.peft.get_nb_trainable_parameters()
    found = estimate(shape, load)
    assert found.weights == 4 * (everything - trained)
    assert found.adapter == 16 * trained
    two_layers_and_one_at_work = 4 * 800 * kept_numbers(adapted) * 3 / 2
    assert found.activations == pytest.approx(two_layers_and_one_at_work, rel=0.3)
    assert estimate(shape, replace(load, checkpointing=True)).activations < found.activations
    assert any(way.startswith("--loss legal saves") for way in savings(shape, load))


def test_out_of_memory_suggests_options() -> None:
    with pytest.raises(ModelError, match=r"out of memory \(.*\): --batch 1 saves 3 GB"):  # noqa: SIM117
        with memory_errors(["--batch 1 saves 3 GB"]):
            torch.empty(1 << 60)
    with pytest.raises(RuntimeError, match="something else"), memory_errors([]):
        raise RuntimeError("something else")
    with pytest.raises(OutOfMemoryError, match=r"\(MemoryError\): --rank 8"), memory_errors(["--rank 8"]):
        raise MemoryError


def kept_numbers(adapted: Any) -> float:
    """Count the numbers per token that autograd keeps for the backward pass."""
    weights = {p.untyped_storage().data_ptr() for p in adapted.peft.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(500, (2, 200))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        adapted.peft.train()
        adapted.loaded.model.model(input_ids=ids, use_cache=False)
    sizes = [t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights]
    return sum(sizes) / ids.numel() / 4
