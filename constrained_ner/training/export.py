"""Weights out: a GGUF for llama.cpp, and a folder for transformers with the same weights.

The GGUF carries its tokenizer and its chat template, so nothing that loads it needs to know what it is.
Tensor names and the order of rows in q and k follow llama.cpp's own `convert_hf_to_gguf.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from ..errors import ModelError
from .tokenizer import CHAT_TEMPLATE, END, PAD, ModelTokenizer

Precision = Literal["f32", "f16", "q8_0"]

_TENSOR_TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
_GLOBAL_NAMES = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

NAME = "constrained-ner embedded"
DESCRIPTION = (
    "Marks drug names (DDI-2013 types drug, brand, group, drug_n) by copying a sentence with tags. "
    "Trained on the DDI-2013 corpus (Herrero-Zazo et al. 2013, CC BY-NC 4.0) and open biomedical text."
)
LICENSE = "cc-by-nc-4.0"


def export_gguf(model: Any, tokenizer: ModelTokenizer, path: Path, *, precision: Precision = "q8_0") -> None:
    """Write a LlamaForCausalLM with tied embeddings and its tokenizer as one GGUF file."""
    config = model.config
    if config.model_type != "llama" or not config.tie_word_embeddings:
        raise ModelError(f"only Llama with tied embeddings can be exported, this is {config.model_type}")
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_architecture(writer, config, precision)
    _add_tokenizer(writer, tokenizer)
    for name, weights in model.model.state_dict().items():
        array = weights.detach().cpu().float().numpy()
        _add_tensor(writer, gguf_name(name), _reordered(name, array, config), precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def export_transformers(model: Any, tokenizer: ModelTokenizer, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer's files, chat template included."""
    model.save_pretrained(folder)
    wrapped: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer.tokenizer,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=model.config.max_position_embeddings,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)


def gguf_name(name: str) -> str:
    """`layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    if name in _GLOBAL_NAMES:
        return _GLOBAL_NAMES[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{_LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def permuted(weights: npt.NDArray[Any], n_heads: int) -> npt.NDArray[Any]:
    """Rows of q or k from the halves that transformers rotates to the pairs that llama.cpp rotates.

    Shape: (n_heads * head size, n_hidden) in and out. Source: LlamaModel.permute in llama.cpp's converter.
    """
    n_rows, n_columns = weights.shape
    halves = weights.reshape(n_heads, 2, n_rows // n_heads // 2, n_columns)
    pairs: npt.NDArray[Any] = halves.swapaxes(1, 2).reshape(n_rows, n_columns)
    return pairs


def _reordered(name: str, weights: npt.NDArray[Any], config: Any) -> npt.NDArray[Any]:
    if name.endswith("q_proj.weight"):
        return permuted(weights, config.num_attention_heads)
    if name.endswith("k_proj.weight"):
        return permuted(weights, config.num_key_value_heads)
    return weights


def _add_architecture(writer: gguf.GGUFWriter, config: Any, precision: Precision) -> None:
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license(LICENSE)
    writer.add_file_type(_TENSOR_TYPES[precision][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: ModelTokenizer) -> None:
    content = json.loads(tokenizer.tokenizer.to_str())
    controls = {token["content"] for token in content["added_tokens"]}
    by_id = {token_id: text for text, token_id in tokenizer.tokenizer.get_vocab(True).items()}
    tokens = [by_id[token_id] for token_id in range(tokenizer.n_tokens)]
    types = [gguf.TokenType.CONTROL if text in controls else gguf.TokenType.NORMAL for text in tokens]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.end)
    writer.add_pad_token_id(tokenizer.pad)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensor(writer: gguf.GGUFWriter, name: str, array: npt.NDArray[Any], precision: Precision) -> None:
    """Matrices in the wanted precision, vectors in float32."""
    kind = _TENSOR_TYPES[precision][0] if array.ndim > 1 else gguf.GGMLQuantizationType.F32
    data = gguf.quants.quantize(np.ascontiguousarray(array, dtype=np.float32), kind)
    writer.add_tensor(name, data, raw_dtype=kind)
