"""How much memory a model's cache will take, from its metadata, before its weights are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, ModelError
from . import model_kind
from .gguf_file import GgufFile
from .installed import installed_file

_HALF = ("float16", "bfloat16")

EXACT_CACHE_BYTES = 512 << 20
"""GGUF models up to this size keep their cache in float32: it is small then, and exact."""

WORTH_A_NOTE = 512 << 20
"""Bytes of cache; below that, the user is told nothing."""


def cache_note(model: str | Path, n_tokens: int, *, on_cpu: bool = True) -> str | None:
    """A line for the user if the cache of a prompt of n_tokens is large; None if it is small or not known."""
    per_token = cache_bytes_per_token(model, on_cpu=on_cpu)
    if per_token is None or per_token * n_tokens < WORTH_A_NOTE:
        return None
    return (
        f"{n_tokens} tokens of examples take about {per_token * n_tokens / (1 << 30):.1f} GiB of cache "
        f"({per_token / 1024:.0f} KiB a token) besides the model; --max-prompt-tokens limits it"
    )


def cache_bytes_per_token(model: str | Path, *, on_cpu: bool = True) -> int | None:
    """Bytes of keys and values per token, in all layers; None if the shape of the model is not known.

    An upper bound: layers with a sliding window need less. on_cpu: whether a folder's model will run on the
    processor, where transformers computes in float32.
    """
    try:
        if model_kind(model) == "gguf":
            return _of_gguf(Path(installed_file(model) or model))
    except (ModelError, MissingExtraError):  # loading will report it
        return None
    config_path = Path(model) / "config.json"
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a hub id, a model on a server, or an error that loading will report
        return None
    return _of_config(config.get("text_config", config), on_cpu)


def _of_config(config: dict[str, Any], on_cpu: bool) -> int | None:
    try:
        n_layers, n_heads = config["num_hidden_layers"], config["num_attention_heads"]
        n_key_heads = config.get("num_key_value_heads") or n_heads
        head_size = config.get("head_dim") or config["hidden_size"] // n_heads
    except KeyError:
        return None
    precision = config.get("dtype") or config.get("torch_dtype")
    return int(2 * n_layers * n_key_heads * head_size * (2 if precision in _HALF and not on_cpu else 4))


def _of_gguf(path: Path) -> int | None:
    file = GgufFile(path)

    def number(name: str) -> int | None:
        value = file.of_architecture(name)
        return value if isinstance(value, int) else None

    n_layers, n_heads = number("block_count"), number("attention.head_count")
    width = number("embedding_length")
    if not (n_layers and n_heads and width):
        return None
    n_key_heads = number("attention.head_count_kv") or n_heads
    key = number("attention.key_length") or width // n_heads
    value = number("attention.value_length") or width // n_heads
    exact = path.stat().st_size <= EXACT_CACHE_BYTES
    return n_layers * n_key_heads * (key + value) * (4 if exact else 2)
