"""The embedded GGUF read back: its weights as a folder for transformers, and in float32 for llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from constrained_ner.training.export import export_gguf, export_transformers, gguf_name
from constrained_ner.training.tokenizer import ModelTokenizer


def write_float32_twins(source: Path, folder: Path) -> tuple[Path, Path]:
    """Write the GGUF's weights, dequantised, as `folder/transformers` and `folder/f32.gguf`."""
    reader = gguf.GGUFReader(source)
    tokenizer = _tokenizer(reader)
    model = _model(reader)
    export_transformers(model, tokenizer, folder / "transformers")
    export_gguf(model, tokenizer, folder / "f32.gguf", precision="f32")
    return folder / "transformers", folder / "f32.gguf"


def _field(reader: gguf.GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


def _tokenizer(reader: gguf.GGUFReader) -> ModelTokenizer:
    tokens, kinds = _field(reader, "tokenizer.ggml.tokens"), _field(reader, "tokenizer.ggml.token_type")
    is_text = [kind == gguf.TokenType.NORMAL for kind in kinds]
    vocabulary = {token: n for n, (token, text) in enumerate(zip(tokens, is_text, strict=True)) if text}
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    controls = [token for token, text in zip(tokens, is_text, strict=True) if not text]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    assert [tokenizer.id_to_token(n) for n in range(len(tokens))] == tokens
    return ModelTokenizer(tokenizer)


def _model(reader: gguf.GGUFReader) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=_field(reader, "llama.vocab_size"),
        hidden_size=_field(reader, "llama.embedding_length"),
        intermediate_size=_field(reader, "llama.feed_forward_length"),
        num_hidden_layers=_field(reader, "llama.block_count"),
        num_attention_heads=_field(reader, "llama.attention.head_count"),
        num_key_value_heads=_field(reader, "llama.attention.head_count_kv"),
        max_position_embeddings=_field(reader, "llama.context_length"),
        rms_norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": _field(reader, "llama.rope.freq_base")},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=_field(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(reader, "tokenizer.ggml.padding_token_id"),
    )
    model = LlamaForCausalLM(config)
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    n_heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            array = weights[gguf_name(name)]
            for part, n in n_heads.items():
                if part in name:
                    array = _halves(array, n)
            parameter.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))
    return model.eval()


def _halves(weights: np.ndarray, n_heads: int) -> np.ndarray:
    """The inverse of `training.export.permuted`."""
    n_rows, n_columns = weights.shape
    pairs = weights.reshape(n_heads, n_rows // n_heads // 2, 2, n_columns)
    return pairs.swapaxes(1, 2).reshape(n_rows, n_columns)
