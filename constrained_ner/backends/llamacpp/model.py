"""A GGUF file opened by llama.cpp: loading with clear errors, and its vocabulary as bytes.

Nothing here computes; `llamacpp.py` does. Written against the C API of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import weakref
from collections import deque
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError, ModelError
from ...files import file_hash
from ...vocabulary import Vocabulary, looks_like_control
from ..temperature import TEMPERATURE_KEY, checked_temperature

try:
    import llama_cpp
except ImportError:
    raise MissingExtraError("llama-cpp-python", "llamacpp") from None

GGUF_MAGIC = b"GGUF"
ADAPTER_KEY = "constrained_ner.adapters"
"""Metadata: what an adapter was trained for (JSON), in its own file or in that of the merged model."""
BASE_KEY = "constrained_ner.base_model"
"""Metadata: which model of transformers the file was made of (JSON), so that a LoRA can be held to it."""

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
_NOT_TEXT = _CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN | llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR; the comment in llama_cpp._logger is older than the library
_FUNCTION_NAMES = re.compile(r"^(\w+: |error loading model: )+")
_DAMAGED = re.compile(r"failed to read|not within the file bounds|corrupt")
_logged_errors: deque[str] = deque(maxlen=50)


def _collect_errors(level: int, text: bytes, _user_data: object) -> None:
    if level == _ERROR_LEVEL:
        _logged_errors.append(text.decode(errors="replace").strip())


_LOG_CALLBACK = llama_cpp.llama_log_callback(_collect_errors)  # ctypes needs the reference kept


def start_llama() -> None:
    """Silence llama.cpp, and keep its errors for our own messages. Harmless when called again."""
    llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
    _logged_errors.clear()


def first_error(default: str) -> str:
    """The first thing that llama.cpp complained of, without the names of the functions that said it."""
    if not _logged_errors:
        return default
    return _FUNCTION_NAMES.sub("", _logged_errors[0])


class LlamaModel:
    """An open GGUF file: weights (unless vocab_only), metadata, tokenizer.

    map_only: names and shapes of all tensors are checked as for computing, but the numbers stay on the disk.
    The memory is given back when the last reference goes: a Vocabulary made from it holds one.
    Raises ModelError, naming the path, for everything that is not a usable model.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        vocab_only: bool = False,
        map_only: bool = False,
        gpu_layers: int = 0,
    ) -> None:
        self.path = Path(path)
        check_gguf(self.path, weights=not vocab_only)
        start_llama()
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = vocab_only
        parameters.use_extra_bufts = not map_only  # copies of the weights, arranged for this processor
        parameters.n_gpu_layers = gpu_layers
        self.pointer: Any = llama_cpp.llama_model_load_from_file(os.fsencode(self.path), parameters)
        if not self.pointer:
            reason = first_error("llama.cpp gives no reason")
            if _DAMAGED.search(reason):
                raise ModelError(f"{self.path}: the GGUF file is cut off or damaged: {reason}")
            if _is_adapter(self.path):
                raise ModelError(f"{self.path}: a LoRA, not a model; give it as lora beside its base model")
            raise ModelError(f"{self.path}: llama.cpp cannot load this model: {reason}")
        freeing = weakref.finalize(self, llama_cpp.llama_model_free, self.pointer)
        freeing.atexit = False  # a context may still use it then, and the process is ending anyway
        self.vocab: Any = llama_cpp.llama_model_get_vocab(self.pointer)
        if llama_cpp.llama_vocab_type(self.vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            raise ModelError(f"{self.path}: the model has no tokenizer")

    @property
    def chat_template(self) -> str | None:
        template = llama_cpp.llama_model_chat_template(self.pointer, None)
        return template.decode(errors="replace") if template else None

    @cached_property
    def temperature(self) -> float:
        """The one stored in the metadata, 1 without it (see `calibrated`)."""
        value = self.metadata(TEMPERATURE_KEY)
        return 1.0 if value is None else checked_temperature(value, self.path)

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata as text, None where it has no such key."""
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
        """Of the whole file."""
        return file_hash(self.path)

    def tokenize(self, text: str, *, specials: bool) -> list[int]:
        """llama.cpp's ids, neither bos nor eos added. specials: control tokens are recognised in the text."""
        data = text.encode()
        capacity = len(data) + 8
        while True:
            ids = (llama_cpp.llama_token * capacity)()
            n_ids = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, capacity, False, specials)
            if n_ids >= 0:
                return ids[:n_ids]
            capacity = -n_ids


def read_metadata(read: Callable[[Any, bytes, Any, int], int], pointer: Any, key: str) -> str | None:
    """A value through one of llama.cpp's `..._meta_val_str`, which return the length that they need."""
    buffer = ctypes.create_string_buffer(64)
    length = read(pointer, key.encode(), buffer, len(buffer))
    if length >= len(buffer):
        buffer = ctypes.create_string_buffer(length + 1)
        read(pointer, key.encode(), buffer, len(buffer))
    return buffer.value.decode(errors="replace") if length >= 0 else None


def check_gguf(path: Path, *, weights: bool) -> None:
    """Raise ModelError unless the path is a readable GGUF file, with weights in it if they are wanted."""
    if not path.exists():
        raise ModelError(f"{path}: no such model file")
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    if header[:4] != GGUF_MAGIC:
        raise ModelError(f"{path}: not a GGUF file (it begins with {header[:4]!r})")
    if len(header) < 24:
        raise ModelError(f"{path}: the GGUF file is cut off ({len(header)} bytes)")
    n_tensors = struct.unpack_from("<Q", header, 8)[0]
    if weights and n_tensors == 0:
        raise ModelError(f"{path}: the GGUF file holds a vocabulary but no weights")


def _is_adapter(path: Path) -> bool:
    """Whether the metadata at the file's start speaks of an adapter."""
    with path.open("rb") as file:
        return b"adapter.type" in file.read(1 << 12)


def load_vocabulary(path: str | Path) -> Vocabulary:
    """The vocabulary of a GGUF file; its weights, if any, are not read."""
    return vocabulary_of_llama(LlamaModel(path, vocab_only=True))


def vocabulary_of_llama(model: LlamaModel) -> Vocabulary:
    """Every token's bytes, and which of them are not text.

    USER_DEFINED tokens are found in text even with specials off; those that look like a chat's control
    strings are therefore made control ids, which `Vocabulary.encode` never returns. The rest (runs of
    blanks, `<td>`) are ordinary text. llama.cpp also declares some tokens CONTROL by their spelling
    although the file says NORMAL (`</s>` in Qwen); the same rule decides on those.
    """
    vocab, template = model.vocab, model.chat_template
    n_tokens = llama_cpp.llama_vocab_n_tokens(vocab)
    ends = {llama_cpp.llama_vocab_eos(vocab), llama_cpp.llama_vocab_eot(vocab)}
    token_bytes: list[bytes] = []
    control_ids: set[int] = set()
    buffer = ctypes.create_string_buffer(4096)
    for token_id in range(n_tokens):
        attributes = llama_cpp.llama_vocab_get_attr(vocab, token_id)
        piece = _piece(vocab, token_id, buffer)
        if attributes & _NOT_TEXT or token_id in ends:
            doubtful = attributes & _NOT_TEXT == _CONTROL and attributes & llama_cpp.LLAMA_TOKEN_ATTR_NORMAL
            if not doubtful or token_id in ends or looks_like_control(piece, template):
                control_ids.add(token_id)
        elif attributes & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED and looks_like_control(piece, template):
            control_ids.add(token_id)
        token_bytes.append(b"" if attributes & llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN else piece)
    bos = llama_cpp.llama_vocab_bos(vocab) if llama_cpp.llama_vocab_get_add_bos(vocab) else -1
    eos = llama_cpp.llama_vocab_eos(vocab)

    def tokenize(text: str) -> list[int]:
        return model.tokenize(text, specials=False)

    def tokenize_template(text: str) -> list[int]:
        return model.tokenize(text, specials=True)

    probe = tokenize("a")
    return Vocabulary(
        token_bytes,
        control_ids=control_ids,
        stop_ids=[i for i in control_ids if llama_cpp.llama_vocab_is_eog(vocab, i)],
        tokenize=tokenize,
        tokenize_template=tokenize_template,
        leading_space=b"".join(token_bytes[i] for i in probe).startswith(b" "),
        bos_id=bos if bos >= 0 else None,
        eos_id=eos if eos >= 0 else None,
    )


def _piece(vocab: Any, token_id: int, buffer: Any) -> bytes:
    """The token's bytes, raw: a byte token is one byte, part of a character is part of a character."""
    n_bytes = llama_cpp.llama_token_to_piece(vocab, token_id, buffer, len(buffer), 0, True)
    if n_bytes < 0:
        buffer = ctypes.create_string_buffer(-n_bytes)
        n_bytes = llama_cpp.llama_token_to_piece(vocab, token_id, buffer, len(buffer), 0, True)
    piece: bytes = buffer.raw[:n_bytes]
    if b"[UNK_BYTE_0x" in piece:  # llama.cpp's mark for a character outside the byte-level alphabet
        spelling: bytes = llama_cpp.llama_vocab_get_text(vocab, token_id)
        return piece if b"[UNK_BYTE_0x" in spelling else spelling
    return piece
