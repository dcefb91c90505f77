"""A LoRA in a GGUF file of its own, which llama.cpp adds to a model while it computes."""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import file_hash
from ..temperature import TEMPERATURE_KEY, checked_temperature
from .model import LlamaModel, check_gguf, first_error, read_metadata, start_llama

import llama_cpp  # isort: skip  (after llamacpp_model, which says how to install it)


class LlamaLora:
    """An open LoRA for one open model; llama.cpp frees it together with the model.

    Raises ModelError, naming the path, where the file is no LoRA or belongs to another model.
    """

    def __init__(self, path: str | Path, model: LlamaModel) -> None:
        self.path = Path(path)
        check_gguf(self.path, weights=True)
        start_llama()
        self._model = model
        self._pointer: Any = llama_cpp.llama_adapter_lora_init(model.pointer, os.fsencode(self.path))
        if not self._pointer:
            reason = first_error("llama.cpp gives no reason")
            raise ModelError(f"{self.path}: not a LoRA for {model.path}: {reason}")

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return file_hash(self.path)

    @property
    def temperature(self) -> float | None:
        """The one stored in the metadata (see `calibrated`), None without it."""
        value = self.metadata(TEMPERATURE_KEY)
        return None if value is None else checked_temperature(value, self.path)

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata as text, None where it has no such key."""
        return read_metadata(llama_cpp.llama_adapter_meta_val_str, self._pointer, key)

    def apply(self, context: Any) -> None:
        """Let everything that the context computes from now on have the LoRA in it."""
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(
            ctypes.cast(self._pointer, llama_cpp.llama_adapter_lora_p_ctypes)
        )
        if llama_cpp.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)) != 0:
            raise ModelError(f"{self.path}: llama.cpp could not apply the LoRA")
