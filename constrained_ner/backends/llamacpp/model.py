"""An open GGUF file: loading it, with clear errors, and its metadata. `cache.py` computes with it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import file_hash
from ..gguf_file import check_gguf, parts_of
from ..temperature import TEMPERATURE_KEY, checked_temperature
from .build import require_working_build
from .library import computes_with_amx, first_error, llama_cpp, start_llama

_DAMAGED = re.compile(r"failed to read|not within the file bounds|corrupt")


class LlamaModel:
    """An open GGUF file: weights (unless vocab_only), metadata, tokenizer.

    map_only: check names and shapes of all tensors as for computing, but leave the numbers on the disk.
    extra_buffers: let llama.cpp rearrange the weights for this processor; None does so unless llama.cpp uses
        AMX, because many builds crash there (see `build.py`).

    Raises ModelError for everything that is not a usable model, naming the path, and for a build of llama.cpp
    that crashes on this processor.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        vocab_only: bool = False,
        map_only: bool = False,
        gpu_layers: int = 0,
        extra_buffers: bool | None = None,
    ) -> None:
        self.path = Path(path)
        check_gguf(self.path, weights=not vocab_only)
        self.extra_buffers = not computes_with_amx() if extra_buffers is None else extra_buffers
        self.chose_extra_buffers = extra_buffers is not None
        if not (vocab_only or map_only):
            require_working_build(extra_buffers=self.extra_buffers)
        start_llama()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = vocab_only
        parameters.use_extra_bufts = self.extra_buffers and not map_only
        parameters.n_gpu_layers = gpu_layers
        self._pointer: Any = llama_cpp.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not self._pointer:
            raise ModelError(_reason_for_failure(self.path))
        self._freeing = weakref.finalize(self, llama_cpp.llama_model_free, self._pointer)
        self._freeing.atexit = False  # a context may still use it then, and the process is ending anyway
        self._vocab: Any = llama_cpp.llama_model_get_vocab(self._pointer)
        if llama_cpp.llama_vocab_type(self._vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            raise ModelError(f"{self.path}: the model has no tokenizer")

    def close(self) -> None:
        """Free the memory now; its contexts must be freed already. Any further use raises ModelError."""
        self._freeing()

    def require_open(self) -> None:
        """Raise ModelError if the model was closed."""
        if not self._freeing.alive:
            raise ModelError(f"{self.path}: the model is closed")

    @property
    def pointer(self) -> Any:
        """For the C API. Raises ModelError after `close`."""
        self.require_open()
        return self._pointer

    @property
    def vocab(self) -> Any:
        """For the C API. Raises ModelError after `close`."""
        self.require_open()
        return self._vocab

    @property
    def chat_template(self) -> str | None:
        template = llama_cpp.llama_model_chat_template(self.pointer, None)
        return template.decode(errors="replace") if template else None

    @property
    def temperature(self) -> float | None:
        """The one stored in the metadata, None without it (see `temperature.py`)."""
        value = self.metadata(TEMPERATURE_KEY)
        return None if value is None else checked_temperature(value, self.path)

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata as text, None if it has no such key."""
        return read_metadata(llama_cpp.llama_model_meta_val_str, self.pointer, key)

    @property
    def trained_context_length(self) -> int:
        return int(llama_cpp.llama_model_n_ctx_train(self.pointer))

    @property
    def size_in_bytes(self) -> int:
        """Of the weights."""
        return int(llama_cpp.llama_model_size(self.pointer))

    @property
    def summary(self) -> str:
        """Architecture, size and precision in llama.cpp's words: "llama 3B Q4_K - Medium"."""
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode(errors="replace")

    @cached_property
    def sha256(self) -> str:
        """Of the whole file; of a model in several files, over the hashes of all of them, in order."""
        hashes = [file_hash(part) for part in parts_of(self.path)]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def tokenize(self, text: str, *, specials: bool) -> list[int]:
        """llama.cpp's ids, without bos and eos. specials: recognise control tokens in the text."""
        data = text.encode()
        capacity = len(data) + 8
        while True:
            ids = (llama_cpp.llama_token * capacity)()
            n_ids = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, capacity, False, specials)
            if n_ids >= 0:
                return ids[:n_ids]
            capacity = -n_ids


def read_metadata(read: Callable[[Any, bytes, Any, int], int], pointer: Any, key: str) -> str | None:
    """A value read by one of llama.cpp's `..._meta_val_str`, which return the length that they need."""
    buffer = ctypes.create_string_buffer(64)
    length = read(pointer, key.encode(), buffer, len(buffer))
    if length >= len(buffer):
        buffer = ctypes.create_string_buffer(length + 1)
        read(pointer, key.encode(), buffer, len(buffer))
    return buffer.value.decode(errors="replace") if length >= 0 else None


def _reason_for_failure(path: Path) -> str:
    """Why llama.cpp did not load a file, in one line."""
    reason = first_error("llama.cpp gives no reason")
    if _DAMAGED.search(reason):
        return f"{path}: the GGUF file is cut off or damaged: {reason}"
    if _is_adapter(path):
        return f"{path}: a LoRA, not a model; load its base model and pass this file as --lora"
    return f"{path}: llama.cpp cannot load this model: {reason}"


def _is_adapter(path: Path) -> bool:
    """Whether the metadata at the start of the file describes an adapter."""
    with path.open("rb") as file:
        return b"adapter.type" in file.read(1 << 12)
