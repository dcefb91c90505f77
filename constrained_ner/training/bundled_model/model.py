"""The bundled model's shape: a small Llama, so that every engine can run it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from ...errors import ModelError
from .tokenizer import ModelTokenizer


@dataclass(frozen=True)
class ModelSize:
    """Sizes of the network; the output layer shares the embeddings.

    The default has 7.2M parameters with 8,000 tokens. The model that ships has 14.5M: 32,000 tokens, and
    feed-forward layers of 1,024.
    """

    n_hidden: int = 256
    n_layers: int = 6
    n_heads: int = 4
    n_feed_forward: int = 768
    n_context: int = 1024


def size_of(folder: Path) -> ModelSize:
    """Read the size of an earlier training from its `transformers` folder. Raises ModelError."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return ModelSize(
            n_hidden=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            n_feed_forward=config["intermediate_size"],
            n_context=config["max_position_embeddings"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot start from this model: {error!r}") from None


def new_model(size: ModelSize, tokenizer: ModelTokenizer, *, attention: str = "sdpa") -> Any:
    """Make a LlamaForCausalLM with random weights; seed torch first."""
    config = LlamaConfig(
        vocab_size=tokenizer.n_tokens,
        hidden_size=size.n_hidden,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        num_key_value_heads=size.n_heads,
        intermediate_size=size.n_feed_forward,
        max_position_embeddings=size.n_context,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=tokenizer.end,
        pad_token_id=tokenizer.pad,
    )
    config._attn_implementation = attention
    return LlamaForCausalLM(config)


def load_weights(model: Any, folders: Sequence[Path]) -> None:
    """Load the weights of an earlier training, or the mean of several, from their `transformers` folders.

    The mean of trainings that began with the same weights is often better than any of them (Wortsman et al.
    2022, "Model soups"). Raises ModelError.
    """
    total: dict[str, Tensor] = {}
    for folder in folders:
        path = folder / "model.safetensors"
        try:
            missing, unexpected = model.load_state_dict(load_file(path), strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{path}: cannot start from these weights: {str(error).splitlines()[0]}"
            ) from None
        if set(missing) - {"lm_head.weight"} or unexpected:  # the output layer shares the embeddings
            raise ModelError(
                f"{path}: cannot start from these weights: the tensors are those of another model"
            )
        for name, weights in model.state_dict().items():
            total[name] = total[name] + weights if name in total else weights.clone()
    model.load_state_dict({name: weights / len(folders) for name, weights in total.items()})
