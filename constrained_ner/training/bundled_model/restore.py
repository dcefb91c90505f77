"""Reads back a GGUF that `save` wrote: the tokenizer, and the weights, dequantised.

For comparing the same weights on both back ends, and for working with a model of which only the GGUF is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from .save import gguf_name
from .tokenizer import ModelTokenizer


def restore(path: Path) -> tuple[Any, ModelTokenizer]:
    """Read the LlamaForCausalLM (float32, evaluation mode) and the tokenizer of a GGUF file."""
    reader = gguf.GGUFReader(path)
    return _model(reader), _tokenizer(reader)


def halves(weights: npt.NDArray[Any], n_heads: int) -> npt.NDArray[Any]:
    """Undo `families.permuted`. Shape: (n_heads * head size, n_hidden) in and out."""
    n_rows, n_columns = weights.shape
    pairs = weights.reshape(n_heads, n_rows // n_heads // 2, 2, n_columns)
    found: npt.NDArray[Any] = pairs.swapaxes(1, 2).reshape(n_rows, n_columns)
    return found


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
    # Control tokens come after those of text, so adding them in order restores their ids.
    controls = [token for token, text in zip(tokens, is_text, strict=True) if not text]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    return ModelTokenizer(tokenizer)


def _model(reader: gguf.GGUFReader) -> Any:
    n_heads = {
        "q_proj": int(_field(reader, "llama.attention.head_count")),
        "k_proj": int(_field(reader, "llama.attention.head_count_kv")),
    }
    config = LlamaConfig(
        vocab_size=_field(reader, "llama.vocab_size"),
        hidden_size=_field(reader, "llama.embedding_length"),
        intermediate_size=_field(reader, "llama.feed_forward_length"),
        num_hidden_layers=_field(reader, "llama.block_count"),
        num_attention_heads=n_heads["q_proj"],
        num_key_value_heads=n_heads["k_proj"],
        max_position_embeddings=_field(reader, "llama.context_length"),
        rms_norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": _field(reader, "llama.rope.freq_base")},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=_field(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(reader, "tokenizer.ggml.padding_token_id"),
    )
    model: Any = LlamaForCausalLM(config)
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            array = weights[gguf_name(name, config.num_hidden_layers)]
            for part, n in n_heads.items():
                if part in name:
                    array = halves(array, n)
            parameter.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))
    return model.eval()
