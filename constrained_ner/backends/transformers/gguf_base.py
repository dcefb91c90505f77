"""A GGUF file as a model of transformers, to train an adapter against the very weights that will carry it.

Weights and configuration are read by transformers, the weights dequantised. Tokens are llama.cpp's own:
transformers rebuilds a tokenizer from the file's metadata and loses details of it, such as how SmolLM2 splits
runs of blanks before digits.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...vocabulary import Vocabulary
from ..gguf_file import check_gguf, is_gguf_file, parts_of
from .messages import explained, quiet

import torch  # isort: skip  (after messages.py, which says how to install it)
import transformers  # isort: skip

_QUANTIZATION = ("quantization_config", "is_quantized", "hf_quantizer")


def is_gguf(name: str) -> bool:
    """Whether a name is that of a GGUF file."""
    return is_gguf_file(Path(name))


class GgufTokenizer:
    """llama.cpp's tokens of a GGUF file, in the place of a tokenizer of transformers."""

    pad_token_id: int | None = None

    def __init__(self, path: str) -> None:
        from ..llamacpp.model import LlamaModel
        from ..llamacpp.vocabulary import vocabulary_of_llama

        model = LlamaModel(path, vocab_only=True)
        self.vocabulary: Vocabulary = vocabulary_of_llama(model)
        self.chat_template = model.chat_template
        self.eos_token_id = self.vocabulary.eos_id

    def __len__(self) -> int:
        return len(self.vocabulary)


def load_config(path: str) -> Any:
    """The configuration that the file's metadata describe. Raises ModelError."""
    check_gguf(Path(path), weights=True)
    if len(parts_of(Path(path))) > 1:
        raise ModelError(f"{path}: a model in several files: join them with gguf-split --merge first")
    with quiet(), explained(path):
        return transformers.AutoConfig.from_pretrained(**_where(path))


def load_dequantised(path: str, config: Any, precision: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    """The model in this precision, and the report of what was loaded.

    Nothing in it remembers that it was quantised, so that it can be trained and saved like any other.
    """
    auto: Any = transformers.AutoModelForCausalLM
    with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off
        model, report = auto.from_pretrained(
            **_where(path), config=config, dtype=precision, output_loading_info=True, **_dequantise()
        )
    for owner in (model, model.config):
        for name in _QUANTIZATION:
            if name in vars(owner):
                delattr(owner, name)
    return model.to(device=device, dtype=precision), report


def _where(path: str) -> dict[str, str]:
    return {
        "pretrained_model_name_or_path": str(Path(path).resolve().parent),
        "gguf_file": Path(path).resolve().name,
    }


def _dequantise() -> dict[str, Any]:
    """transformers 5.24 can keep the weights packed, which cannot be trained through."""
    config: Any = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}
