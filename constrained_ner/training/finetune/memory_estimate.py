"""Estimates how much memory a fine-tuning will take, from the model's configuration.

Sizes of weights are exact: the model is built without memory for them. Activations are estimated from the
sizes of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM

_FLOAT = 4
_BITS_PER_WEIGHT = {"4bit": 4.127, "8bit": 8.0}  # nf4 in blocks of 64, with quantised scales
_PROGRAM_BYTES = 700_000_000  # torch, transformers and the sentences, where all is in main memory
_SPARE_HEAP = 0.25  # of the activations: blocks that are kept (`heap.py`) and fit no later batch
_COPIES_OF_LOGITS = 3  # logits, their softmax, and its gradient


@dataclass(frozen=True)
class ModelShape:
    """What matters about a model.

    linear: (rows, columns) of every linear layer except the output. n_other: number of other parameters.
    """

    linear: tuple[tuple[int, int], ...]
    n_other: int
    n_layers: int
    n_hidden: int
    n_heads: int
    n_tokens: int

    @classmethod
    def of(cls, config: Any, *, trust_remote_code: bool = False) -> ModelShape:
        """Get the shape from a configuration; no weights are read or made."""
        auto: Any = AutoModelForCausalLM
        with torch.device("meta"):
            model = auto.from_config(config, trust_remote_code=trust_remote_code)
        head = model.get_output_embeddings()
        linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
        text = config.get_text_config(decoder=True)
        n_linear = sum(m.weight.numel() for m in linear)
        return cls(
            linear=tuple((m.out_features, m.in_features) for m in linear),
            n_other=sum(p.numel() for p in model.parameters()) - n_linear,
            n_layers=text.num_hidden_layers,
            n_hidden=text.hidden_size,
            n_heads=text.num_attention_heads,
            n_tokens=text.vocab_size,
        )


@dataclass(frozen=True)
class Workload:
    """What a training asks of the model.

    bytes_per_number: of weights and activations. on_gpu: otherwise attention keeps its scores.
    n_sequences, n_tokens: of the largest batches, padding included. n_columns: of the longest example.
    n_whole: places per batch at which the whole vocabulary is predicted.
    full: all weights are trained, in float32, and there is no adapter.
    """

    rank: int
    quantize: str | None
    bytes_per_number: int
    checkpointing: bool
    dropout: bool
    on_gpu: bool
    n_sequences: int
    n_tokens: int
    n_columns: int
    n_whole: int
    full: bool = False


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of each part. adapter: what is trained, its gradients and the optimiser's state; of a whole model
    without the weights themselves. program: what a process on a processor holds besides."""

    program: int
    weights: int
    adapter: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.program + self.weights + self.adapter + self.activations + self.logits

    def __str__(self) -> str:
        program = f", program and spare memory {gigabytes(self.program)}" if self.program else ""
        return (
            f"about {gigabytes(self.total)}: weights {gigabytes(self.weights)}, what is trained with "
            f"gradients and optimiser {gigabytes(self.adapter)}, activations {gigabytes(self.activations)}, "
            f"logits {gigabytes(self.logits)}{program}"
        )


def estimate(shape: ModelShape, workload: Workload) -> MemoryEstimate:
    """Estimate the peak of a training step."""
    n_linear = sum(rows * columns for rows, columns in shape.linear)
    bits = _BITS_PER_WEIGHT.get(workload.quantize or "", 8.0 * workload.bytes_per_number)
    if workload.full:
        weights = (n_linear + shape.n_other) * _FLOAT
        trained = weights * 3  # gradient, Adam's two moments
    else:
        weights = int(n_linear * bits / 8) + shape.n_other * workload.bytes_per_number
        n_adapter = workload.rank * sum(rows + columns for rows, columns in shape.linear)
        trained = n_adapter * 4 * _FLOAT  # weights, gradient, Adam's two moments
    at_work = _kept_by_a_layer(shape, workload)
    kept = shape.n_layers * (shape.n_hidden if workload.checkpointing else at_work) + at_work
    activations = workload.n_tokens * kept * workload.bytes_per_number
    return MemoryEstimate(
        program=0 if workload.on_gpu else _PROGRAM_BYTES + int(_SPARE_HEAP * activations),
        weights=weights,
        adapter=trained,
        activations=activations,
        logits=workload.n_whole * shape.n_tokens * _COPIES_OF_LOGITS * _FLOAT,
    )


def _kept_by_a_layer(shape: ModelShape, workload: Workload) -> int:
    """Count the numbers per token that a layer keeps for the backward pass.

    Inputs and outputs of the linear layers, the inputs again if the adapter has dropout, norms and residuals,
    and on a processor each head's attention to every token. Within 15 % of what Llamas of several shapes,
    SmolLM2 and Gemma 3 were measured to keep.
    """
    times = 2 if workload.dropout else 1
    linear = sum(rows + times * columns for rows, columns in shape.linear)
    scores = 0 if workload.on_gpu else shape.n_heads * workload.n_columns
    return linear // shape.n_layers + 4 * shape.n_hidden + scores


def savings(shape: ModelShape, workload: Workload) -> Iterator[str]:
    """Yield options that take less memory, each with what it saves by itself, largest first."""
    now = estimate(shape, workload)
    of_adapters = {
        "--quantize 4bit": replace(workload, quantize="4bit"),
        "--rank 8": replace(workload, rank=min(8, workload.rank)),
    }
    others = {
        **({"an adapter, without --full": replace(workload, full=False)} if workload.full else of_adapters),
        "--batch 1 with a larger --grad-accum": replace(
            workload, n_tokens=workload.n_columns, n_whole=workload.n_whole // workload.n_sequences
        ),
        "--checkpointing": replace(workload, checkpointing=True),
        "--loss legal": replace(workload, n_whole=workload.n_sequences),
    }
    saved = {setting: now.total - estimate(shape, other).total for setting, other in others.items()}
    for setting, n_bytes in sorted(saved.items(), key=lambda item: -item[1]):
        if n_bytes > (now.total - now.program) / 100:
            yield f"{setting} saves {gigabytes(n_bytes)}"


def gigabytes(n_bytes: int) -> str:
    """Example: gigabytes(1_500_000_000) -> "1.5 GB"; small ones in MB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e8 else f"{n_bytes / 1e6:.0f} MB"
