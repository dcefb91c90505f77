"""Saves the trained model: a GGUF for llama.cpp, and a folder for transformers with the same weights.

The GGUF carries its tokenizer and its chat template, so nothing that loads it needs to know what it is. The
code that writes it is the one that exports every other model (`constrained_ner.export`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...export.families import FAMILIES, add_metadata
from ...export.gguf import Precision, Tensor, file_type, write_tensors, written_whole
from ...export.tokenizer import add_tokenizer
from .tokenizer import ModelTokenizer

_LLAMA = FAMILIES["llama"]
NAME = "constrained-ner bundled"
DESCRIPTION = (
    "Marks drug names (DDI-2013 types drug, brand, group, drug_n) by copying a sentence with tags. "
    "Trained on the DDI-2013 corpus (Herrero-Zazo et al. 2013, CC BY-NC 4.0) and open biomedical text."
)
LICENSE = "cc-by-nc-4.0"


def save_gguf(model: Any, tokenizer: ModelTokenizer, path: Path, *, precision: Precision = "q8_0") -> None:
    """Write a LlamaForCausalLM with tied embeddings, and its tokenizer, as one GGUF file."""
    config = model.config
    if config.model_type != "llama" or not config.tie_word_embeddings:
        raise ModelError(
            f"{path}: only a Llama with tied embeddings can be saved, and this is {config.model_type}"
        )
    writer = gguf.GGUFWriter(None, _LLAMA.name)
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license(LICENSE)
    writer.add_file_type(file_type(precision))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_metadata(writer, _LLAMA, config, n_tokens=config.vocab_size)
    wrapped = tokenizer.for_transformers(config.max_position_embeddings)
    add_tokenizer(writer, wrapped, tokenizer.vocabulary, None)
    tensors = [_tensor(name, weights, config) for name, weights in model.model.state_dict().items()]
    with written_whole(path, sum(tensor.n_bytes(precision) for tensor in tensors)) as partial:
        write_tensors(writer, tensors, partial, precision)


def save_transformers(model: Any, tokenizer: ModelTokenizer, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer's files, with the chat template."""
    model.save_pretrained(folder)
    tokenizer.for_transformers(model.config.max_position_embeddings).save_pretrained(folder)


def gguf_name(name: str, n_layers: int) -> str:
    """Example: `layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    return _LLAMA.gguf_name(f"model.{name}", n_layers)


def _tensor(name: str, weights: Any, config: Any) -> Tensor:
    def read() -> NDArray[np.float32]:
        return _LLAMA.arrange(name, weights.detach().cpu().float().numpy(), config)

    return Tensor(gguf_name(name, config.num_hidden_layers), tuple(weights.shape), read)
