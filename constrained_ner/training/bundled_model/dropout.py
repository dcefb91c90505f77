"""Dropout after every attention and feed-forward block, which the code of Llama does not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as functional
from torch import Tensor


@contextmanager
def dropout(model: Any, probability: float) -> Iterator[None]:
    """Within this context, a LlamaForCausalLM in training mode drops parts of what its blocks add."""

    def drop(module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return functional.dropout(output, probability, module.training)
        return (functional.dropout(output[0], probability, module.training), *output[1:])

    blocks = [b for layer in model.model.layers for b in (layer.self_attn, layer.mlp)] if probability else []
    hooks = [block.register_forward_hook(drop) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
