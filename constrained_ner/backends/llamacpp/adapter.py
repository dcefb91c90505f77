"""A LoRA in a GGUF file of its own, which llama.cpp adds to a model as it computes."""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import file_hash
from ..gguf_file import check_gguf
from ..temperature import TEMPERATURE_KEY, checked_temperature
from .library import first_error, llama_cpp, start_llama
from .model import LlamaModel, read_metadata


class LlamaLora:
    """An open LoRA for one open model; llama.cpp frees it together with the model.

    Raises ModelError, naming the path, if the file is not a LoRA or belongs to another model.
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

    @property
    def pointer(self) -> Any:
        """For the C API. Raises ModelError after the model was closed."""
        self._model.require_open()
        return self._pointer

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return file_hash(self.path)

    @property
    def temperature(self) -> float | None:
        """The one stored in the metadata, None without it (see `temperature.py`)."""
        value = self.metadata(TEMPERATURE_KEY)
        return None if value is None else checked_temperature(value, self.path)

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata as text, None if it has no such key."""
        return read_metadata(llama_cpp.llama_adapter_meta_val_str, self.pointer, key)

    def apply(self, context: Any) -> None:
        """Add the LoRA to everything that the context computes from now on."""
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(
            ctypes.cast(self.pointer, llama_cpp.llama_adapter_lora_p_ctypes)
        )
        if llama_cpp.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)) != 0:
            raise ModelError(f"{self.path}: llama.cpp could not apply the LoRA")
