"""llama.cpp: a GGUF file as a LogitsBackend, through the C API of llama-cpp-python 0.3.36.

The shared prefix lives in sequence 0 of one context, the slots in sequences 1, 2, ... A slot gets the prefix
by `llama_memory_seq_cp`, which shares the cells instead of copying them, and drops rejected tokens by
`llama_memory_seq_rm`. The cache starts small and grows on demand, so a model's long context costs nothing
until a text needs it.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..protocol import Scores, Step, check_prefix, check_steps, common_length, score_rows
from .adapter import LlamaLora
from .model import (
    ADAPTER_KEY,
    BASE_KEY,
    LlamaModel,
    first_error,
    load_vocabulary,
    start_llama,
    vocabulary_of_llama,
)

import llama_cpp  # isort: skip  (after llamacpp_model, which says how to install it)

__all__ = ["LlamaCppBackend", "load_vocabulary"]

_CELL_BLOCK = 256  # llama.cpp rounds a cache up to this
_N_BATCH = 512
_OUTPUT_BYTES = 64 << 20  # of logits that one call of llama_decode may write
EXACT_BYTES = 512 << 20  # models up to this size keep their cache in float32: it is small, and exact
_NO_CELLS = 1


@dataclass(frozen=True, slots=True)
class _Row:
    """A token on its way into the cache, and where its scores go (None: nobody asked)."""

    token_id: int
    position: int
    sequence: int
    watch: Sequence[int] | None
    place: tuple[int, int]


class LlamaCppBackend:
    """A GGUF model on the processor, or with `gpu_layers` of it (-1: all) on a graphics card.

    n_threads: None takes what the process may use.
    context_length: None takes the length that the model was trained for.
    max_sequences: one by default. A draft fills the processor as it is, and what a sentence gets then depends
        on no neighbour, not even by a rounding error: a resumed run writes the bytes of an unbroken one. A
        graphics card wants more.
    lora: a GGUF LoRA, added to the model while it computes.
    cache: precision of attention; "auto" is float32 for small models, where a draft is then scored as its
        tokens one by one would be, and float16 otherwise.
    Raises ModelError, naming the path, where the file is not a model that can be used so.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_threads: int | None = None,
        context_length: int | None = None,
        max_sequences: int = 1,
        gpu_layers: int = 0,
        lora: str | Path | None = None,
        cache: Literal["auto", "f32", "f16"] = "auto",
    ) -> None:
        if gpu_layers and not llama_cpp.llama_supports_gpu_offload():
            raise ModelError(f"{path}: {gpu_layers} layers on a gpu, but this llama.cpp is built without one")
        if not 1 <= max_sequences < llama_cpp.llama_max_parallel_sequences():
            raise ModelError(f"{path}: {max_sequences} sequences at once, which llama.cpp cannot hold")
        self.model = LlamaModel(path, gpu_layers=gpu_layers)
        check_architecture(self.model)
        if lora is not None and self.model.metadata(ADAPTER_KEY) is not None:
            raise ModelError(f"{lora}: {path} has an adapter in it already; give the LoRA to its base model")
        self._lora = LlamaLora(lora, self.model) if lora is not None else None
        self.vocabulary = vocabulary_of_llama(self.model)
        self.context_length = context_length or self.model.trained_context_length
        self.max_sequences = max_sequences
        self.gpu_layers = gpu_layers
        self._n_threads = n_threads or _usable_threads()
        exact = cache == "f32" or (cache == "auto" and self.model.size_in_bytes <= EXACT_BYTES)
        self._cache_type = llama_cpp.GGML_TYPE_F32 if exact else llama_cpp.GGML_TYPE_F16
        self._n_outputs = max(1, min(_N_BATCH, _OUTPUT_BYTES // (4 * len(self.vocabulary))))
        self._batch = _Batch(_N_BATCH)
        self._prefix: list[int] = []
        self._slots: list[list[int]] = [[] for _ in range(max_sequences)]
        self._context: Any = None
        self._n_cells = 0
        self._open_context(_CELL_BLOCK)
        if not llama_cpp.llama_get_causal_attn(self._context):
            raise ModelError(f"{path}: an encoder cannot write (its attention looks both ways)")

    @property
    def chat_template(self) -> str | None:
        return self.model.chat_template

    @property
    def temperature(self) -> float:
        """The LoRA's, if it has one: it was fitted to the two together."""
        own = self._lora.temperature if self._lora else None
        return self.model.temperature if own is None else own

    @property
    def adapter_card(self) -> str | None:
        """What the LoRA, or the one that was merged into the model, was trained for (JSON), if it says so."""
        return (self._lora or self.model).metadata(ADAPTER_KEY)

    @property
    def base_model(self) -> str | None:
        """Which model of transformers the LoRA is added to (JSON), if there is one and the file says so."""
        return self.model.metadata(BASE_KEY) if self._lora else None

    @property
    def description(self) -> dict[str, str]:
        about = {
            "backend": "llama.cpp",
            "name": self.model.path.name,
            "path": str(self.model.path),
            "sha256": self.model.sha256,
            "precision": self.model.summary,
            "cache": "float32" if self._cache_type == llama_cpp.GGML_TYPE_F32 else "float16",
            "device": f"cpu, {self._n_threads} threads"
            + (f", {self.gpu_layers} layers on a gpu" if self.gpu_layers else ""),
            "version": f"llama-cpp-python {llama_cpp.__version__}",
        }
        if self._lora is None:
            return about
        return {**about, "lora": self._lora.path.name, "lora_sha256": self._lora.sha256}

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        check_prefix(prefix_ids, self.context_length)
        prefix = list(prefix_ids)
        n_shared = common_length(self._prefix, prefix)
        self._slots = [[] for _ in self._slots]
        self._prefix = prefix
        if not self._room_for(len(prefix)):
            return  # the new context holds the new prefix already
        self._truncate(-1, n_shared)
        self._decode(_silent_rows(prefix[n_shared:], 0, n_shared))
        self._share_prefix()

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        n_prefix = len(self._prefix)
        check_steps(steps, [len(slot) for slot in self._slots], n_prefix, self.context_length)
        for step in steps:
            slot = self._slots[step.sequence]
            if step.keep < len(slot):
                del slot[step.keep :]
                if self._context is not None:
                    self._truncate(step.sequence + 1, n_prefix + step.keep)
        n_held = n_prefix + sum(map(len, self._slots))
        self._room_for(n_held + sum(len(step.token_ids) for step in steps))
        answers: list[list[Scores | None]] = [[None] * len(step.token_ids) for step in steps]
        rows = [
            _Row(token_id, n_prefix + step.keep + at, step.sequence + 1, watch, (number, at))
            for number, step in enumerate(steps)
            for at, (token_id, watch) in enumerate(zip(step.token_ids, step.watch, strict=True))
        ]
        for (number, at), scores in self._decode(rows):
            answers[number][at] = scores
        for step in steps:
            self._slots[step.sequence] += step.token_ids
        return answers

    def close(self) -> None:
        """Free the context. The vocabulary goes on working: it holds the model."""
        if self._context is not None:
            self._freeing()
            self._context = None

    # The cache

    def _room_for(self, n_cells: int) -> bool:
        """Make the cache hold n_cells; False if that took a new context, with prefix and slots in it."""
        if self._context is not None and n_cells <= self._n_cells:
            return True
        self._open_context(n_cells + max(_CELL_BLOCK, n_cells // 4))
        self._decode(_silent_rows(self._prefix, 0, 0))
        self._share_prefix()
        for number, slot in enumerate(self._slots):
            self._decode(_silent_rows(slot, number + 1, len(self._prefix)))
        return False

    def _open_context(self, n_cells: int) -> None:
        self.close()
        start_llama()
        n_cells += -n_cells % _CELL_BLOCK
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = n_cells
        parameters.n_batch = parameters.n_ubatch = _N_BATCH
        parameters.n_seq_max = self.max_sequences + 1
        parameters.n_outputs_max = self._n_outputs
        parameters.n_outputs_max_per_seq = 0  # as many as n_outputs_max
        parameters.n_threads = parameters.n_threads_batch = self._n_threads
        parameters.type_k = parameters.type_v = self._cache_type
        if self._cache_type == llama_cpp.GGML_TYPE_F32:  # flash attention computes in float16 here and there
            parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.kv_unified = True  # all sequences share one buffer, and so the prefix's cells
        parameters.swa_full = True  # a sliding window must not forget what a truncation brings back
        self._context = llama_cpp.llama_init_from_model(self.model.pointer, parameters)
        if not self._context:
            self._context = None
            reason = first_error("llama.cpp gives no reason")
            raise ModelError(f"{self.model.path}: no context of {n_cells} tokens can be opened: {reason}")
        self._freeing = weakref.finalize(self, _free_context, self._context, self.model)
        self._freeing.atexit = False
        if self._lora is not None:
            self._lora.apply(self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._n_cells = n_cells

    def _truncate(self, sequence: int, length: int) -> None:
        """Forget what the sequence (-1: every one) holds from position `length` on."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise ModelError(f"{self.model.path}: the model's memory cannot be shortened to {length} tokens")

    def _share_prefix(self) -> None:
        for sequence in range(1, self.max_sequences + 1):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    # The computation

    def _decode(self, rows: Sequence[_Row]) -> list[tuple[tuple[int, int], Scores]]:
        """Run the rows through the model, in as many calls as its batch and the logits' memory ask for."""
        found: list[tuple[tuple[int, int], Scores]] = []
        try:
            for part in _parts(rows, _N_BATCH, self._n_outputs):
                watched = [row for row in part if row.watch is not None]
                self._run(part)
                if watched:
                    scores = score_rows(self._logits(len(watched)), [row.watch or () for row in watched])
                    found += zip([row.place for row in watched], scores, strict=True)
        except BaseException:  # an interrupt, too: the cache no longer holds what the slots say
            self.close()
            raise
        return found

    def _run(self, part: Sequence[_Row]) -> None:
        code = llama_cpp.llama_decode(self._context, self._batch.filled(part))
        if code == _NO_CELLS:
            raise ModelError(f"{self.model.path}: no room for {len(part)} tokens in {self._n_cells} cells")
        if code != 0:
            reason = first_error(f"code {code}")
            raise ModelError(f"{self.model.path}: llama.cpp could not evaluate {len(part)} tokens: {reason}")

    def _logits(self, n_rows: int) -> NDArray[np.float32]:
        """llama.cpp's own buffer, in the rows' order; the next call of llama_decode overwrites it."""
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(n_rows, len(self.vocabulary)))


class _Batch:
    """A llama_batch over numpy arrays that are allocated once, one sequence per token."""

    def __init__(self, capacity: int) -> None:
        self.token = np.zeros(capacity, dtype=np.int32)
        self.position = np.zeros(capacity, dtype=np.int32)
        self.sequence = np.zeros(capacity, dtype=np.int32)
        self.wanted = np.zeros(capacity, dtype=np.int8)
        self._ones = np.ones(capacity, dtype=np.int32)
        self._pointers = (self.sequence.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        self._struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=_pointer(self.token, ctypes.c_int32),
            pos=_pointer(self.position, ctypes.c_int32),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self.wanted, ctypes.c_int8),
        )

    def filled(self, rows: Sequence[_Row]) -> Any:
        n_rows = len(rows)
        self.token[:n_rows] = [row.token_id for row in rows]
        self.position[:n_rows] = [row.position for row in rows]
        self.sequence[:n_rows] = [row.sequence for row in rows]
        self.wanted[:n_rows] = [row.watch is not None for row in rows]
        self._struct.n_tokens = n_rows
        return self._struct


def check_architecture(model: LlamaModel) -> None:
    """Refuse what cannot go on from any of its prefixes: ModelError."""
    pointer = model.pointer
    if llama_cpp.llama_model_has_encoder(pointer) or not llama_cpp.llama_model_has_decoder(pointer):
        raise ModelError(f"{model.path}: an encoder ({model.summary}) cannot write; a decoder is needed")
    if llama_cpp.llama_model_is_recurrent(pointer) or llama_cpp.llama_model_is_hybrid(pointer):
        raise ModelError(
            f"{model.path}: a recurrent model ({model.summary}) cannot take back rejected tokens; "
            "choose one with attention in every layer"
        )
    if llama_cpp.llama_model_is_diffusion(pointer):
        raise ModelError(f"{model.path}: a diffusion model ({model.summary}) does not write left to right")


def _free_context(context: Any, _model: LlamaModel) -> None:
    """The model comes along so that it is freed after its context."""
    llama_cpp.llama_free(context)


def _silent_rows(token_ids: Iterable[int], sequence: int, start: int) -> list[_Row]:
    return [_Row(token_id, start + at, sequence, None, (0, 0)) for at, token_id in enumerate(token_ids)]


def _parts(rows: Sequence[_Row], n_rows: int, n_watched: int) -> Iterator[Sequence[_Row]]:
    """The rows in order, cut so that no part has more than n_rows of them or n_watched watched ones."""
    start = watched = 0
    for at, row in enumerate(rows):
        watched += row.watch is not None
        if at - start == n_rows or watched > n_watched:
            yield rows[start:at]
            start, watched = at, int(row.watch is not None)
    if start < len(rows):
        yield rows[start:]


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


def _usable_threads() -> int:
    """What the process may use, but beyond four only half: the rest are mostly second threads of a core."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(usable, 4), usable // 2)
