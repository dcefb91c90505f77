"""Loads a causal language model with a new LoRA adapter, ready for training (with 4-bit weights: QLoRA)."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...backends.transformers.messages import quiet
from ...backends.transformers.model import LoadedModel, Quantize, load_model, pick_device, require
from ...errors import ModelError
from ..output_rows import check_output_layer

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """Shape of an adapter. targets: names of layers, or `all-linear` for all but the output layer."""

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    targets: str = ALL_LINEAR


@dataclass(frozen=True)
class AdaptedModel:
    """A model with its adapter, or a whole model that is trained itself.

    peft: to train and to save. loaded: the same model, to decode with. head: its output layer.
    """

    peft: Any
    loaded: LoadedModel
    head: Any

    def parameter_counts(self) -> tuple[int, int]:
        """How many parameters are trained, and how many there are."""
        if hasattr(self.peft, "get_nb_trainable_parameters"):  # it knows what quantised weights stand for
            n_trained, n_all = self.peft.get_nb_trainable_parameters()
            return n_trained, n_all
        sizes = [(p.numel(), p.requires_grad) for p in self.peft.parameters()]
        return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def training_device(device: str) -> torch.device:
    """Pick a device like `pick_device`; under torchrun each process gets its own GPU."""
    rank = os.environ.get("LOCAL_RANK")
    found = pick_device(device)
    return torch.device("cuda", int(rank or 0)) if found.type == "cuda" else found


def training_precision(device: torch.device) -> torch.dtype:
    """float32 on CPU; on GPU bfloat16 if the hardware has it, else float16."""
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def load_for_training(
    name: str,
    lora: Lora,
    *,
    quantize: Quantize | None,
    device: torch.device,
    checkpointing: bool,
    trust_remote_code: bool = False,
) -> AdaptedModel:
    """Load the base model, frozen, and add an adapter that has no effect yet. Raises ModelError."""
    require("peft", "train")
    with quiet():
        from peft import LoraConfig, get_peft_model

    loaded = load_model(
        name,
        adapter=None,
        quantize=quantize,
        device=str(device),
        dtype=str(training_precision(device)).removeprefix("torch."),
        trust_remote_code=trust_remote_code,
    )
    targets = lora.targets if lora.targets == ALL_LINEAR else lora.targets.split(",")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
    )
    config.base_model_name_or_path = name
    try:
        with quiet():
            peft: Any = get_peft_model(loaded.model, config)
    except ValueError as error:
        raise ModelError(f"{name}: --targets {lora.targets}: {str(error).splitlines()[0]}") from None
    prepare_for_training(loaded.model, device, checkpointing)
    base = peft.get_base_model()
    head = base.get_output_embeddings()
    check_output_layer(head, name)
    return AdaptedModel(peft, replace(loaded, model=base), head)


def prepare_for_training(model: Any, device: torch.device, checkpointing: bool) -> None:
    """Choose how attention and activations are computed."""
    if device.type == "cpu":  # the backward pass of torch's fused attention is slow on processors
        model.set_attn_implementation("eager")
    if checkpointing:
        _checkpoint_activations(model)


def save_adapter(peft: Any, folder: Path) -> None:
    """Save the adapter's weights and configuration; each file is complete at any moment."""
    part = folder / ".part"
    with quiet():
        peft.save_pretrained(part)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        os.replace(part / name, folder / name)
    shutil.rmtree(part)  # with peft's generic README


def _checkpoint_activations(model: Any) -> None:
    """Keep only the inputs of each layer, and recompute the rest in the backward pass."""
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # transformers 5.23 renamed it
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
