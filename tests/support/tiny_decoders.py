"""Decoders of several architectures as GGUFs with random weights, and LoRAs for them, made with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tiny_models import add_byte_level_tokenizer, byte_level_tokenizer

N_HIDDEN, N_FEED_FORWARD, N_HEADS, N_KEY_HEADS = 48, 96, 4, 2
CONTEXT_LENGTH = 1024

Tensors = dict[str, NDArray[np.float32]]


def write_decoder(
    path: Path,
    architecture: str,
    *,
    head_size: int = 16,
    n_layers: int = 2,
    window: int | None = None,
    factor: float | None = None,
    tied: bool = True,
    more: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Write a decoder in float32. window: of Gemma 3's local layers. factor: positions are divided by it."""
    tokenizer = byte_level_tokenizer()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(N_HIDDEN)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(N_FEED_FORWARD)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KEY_HEADS)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    if architecture == "llama":
        writer.add_rope_dimension_count(head_size)
    if window is not None:
        writer.add_sliding_window(window)
    if factor is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(factor)
    add_byte_level_tokenizer(writer, tokenizer)
    for name, tensor in (
        _tensors(architecture, tokenizer.get_vocab_size(), head_size, n_layers, tied) | dict(more or {})
    ).items():
        writer.add_tensor(name, tensor)
    return _written(writer, path)


def write_lora(path: Path, architecture: str, *, head_size: int = 16, n_layers: int = 2) -> Path:
    """Write a LoRA of rank 4 for every matrix of the layers, with a large effect."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 6.0)
    for layer in range(n_layers):
        for part, (n_rows, n_columns) in _matrices(head_size).items():
            name = f"blk.{layer}.{part}.weight"
            for factor, sizes in (("a", (4, n_columns)), ("b", (n_rows, 4))):
                tensor = (0.15 * random.standard_normal(sizes)).astype(np.float32)
                writer.add_tensor(f"{name}.lora_{factor}", tensor)
    return _written(writer, path)


def _matrices(head_size: int) -> dict[str, tuple[int, int]]:
    """Part of a layer -> outputs and inputs."""
    queries, keys = N_HEADS * head_size, N_KEY_HEADS * head_size
    return {
        "attn_q": (queries, N_HIDDEN),
        "attn_k": (keys, N_HIDDEN),
        "attn_v": (keys, N_HIDDEN),
        "attn_output": (N_HIDDEN, queries),
        "ffn_gate": (N_FEED_FORWARD, N_HIDDEN),
        "ffn_up": (N_FEED_FORWARD, N_HIDDEN),
        "ffn_down": (N_HIDDEN, N_FEED_FORWARD),
    }


def _tensors(architecture: str, n_tokens: int, head_size: int, n_layers: int, tied: bool) -> Tensors:
    random = np.random.default_rng(0)

    def matrix(n_rows: int, n_columns: int) -> NDArray[np.float32]:
        return (random.standard_normal((n_rows, n_columns)) / np.sqrt(n_columns)).astype(np.float32)

    def norm(size: int) -> NDArray[np.float32]:
        return (1 + 0.3 * random.standard_normal(size)).astype(np.float32)

    norms = {"attn_norm": N_HIDDEN, "ffn_norm": N_HIDDEN}
    if architecture in ("qwen3", "gemma3"):
        norms |= {"attn_q_norm": head_size, "attn_k_norm": head_size}
    if architecture == "gemma3":
        norms |= {"post_attention_norm": N_HIDDEN, "post_ffw_norm": N_HIDDEN}
    tensors = {"token_embd.weight": 3 * matrix(n_tokens, N_HIDDEN), "output_norm.weight": norm(N_HIDDEN)}
    if not tied:
        tensors["output.weight"] = 3 * matrix(n_tokens, N_HIDDEN)
    for layer in range(n_layers):
        tensors |= {f"blk.{layer}.{part}.weight": norm(size) for part, size in norms.items()}
        tensors |= {
            f"blk.{layer}.{part}.weight": matrix(*sizes) for part, sizes in _matrices(head_size).items()
        }
    return tensors


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
