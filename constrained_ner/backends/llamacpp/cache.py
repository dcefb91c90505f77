"""One context of llama.cpp: the shared prefix in sequence 0, the slots in sequences 1, 2, ...

A slot gets the prefix by `llama_memory_seq_cp`, which shares the cells instead of copying them, and drops
rejected tokens by `llama_memory_seq_rm`. The context starts small and is opened anew when it grows, so a
model's long context costs nothing until a text needs it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..protocol import Scores
from ..scoring import common_length, score_rows
from .adapter import LlamaLora
from .batch import Batch, Row, silent_rows, split_rows
from .library import first_error, llama_cpp, start_llama
from .model import LlamaModel

_CELL_BLOCK = 256  # llama.cpp rounds the size of a cache up to a multiple of this
_N_BATCH = 512
_OUTPUT_BYTES = 64 << 20  # of logits that one call of llama_decode may write
_NO_CELLS = 1  # a return code of llama_decode


class LlamaCache:
    """The tokens of the prefix and of n_slots slots, computed.

    exact: keys and values in float32, else in float16.
    prefix, slots: the token ids that they hold. An error in the middle of a pass, or an interrupt, drops the
        context; the next pass computes the tokens again.
    """

    def __init__(
        self, model: LlamaModel, lora: LlamaLora | None, *, n_slots: int, n_threads: int, exact: bool
    ) -> None:
        self.prefix: list[int] = []
        self.slots: list[list[int]] = [[] for _ in range(n_slots)]
        self._model = model
        self._lora = lora
        self._n_threads = n_threads
        self._exact = exact
        self._n_vocabulary = int(llama_cpp.llama_vocab_n_tokens(model.vocab))
        self._n_outputs = max(1, min(_N_BATCH, _OUTPUT_BYTES // (4 * self._n_vocabulary)))
        self._batch = Batch(_N_BATCH)
        self._context: Any = None
        self._n_cells = 0
        self._open(_CELL_BLOCK)
        if not llama_cpp.llama_get_causal_attn(self._context):
            raise ModelError(
                f"{model.path}: an encoder cannot generate text (its attention is bidirectional)"
            )

    def set_prefix(self, prefix_ids: Sequence[int]) -> None:
        """Empty the slots and compute the prefix, except for what it has in common with the old one."""
        prefix = list(prefix_ids)
        n_shared = common_length(self.prefix, prefix)
        self.slots = [[] for _ in self.slots]
        self.prefix = prefix
        if not self._reserve(len(prefix)):
            return  # the new context holds the new prefix already
        self._truncate(-1, n_shared)
        self._compute(silent_rows(prefix[n_shared:], 0, n_shared))
        self._share_prefix()

    def truncate(self, slot: int, length: int) -> None:
        """Drop the slot's tokens from `length` on, counted without the prefix."""
        if length < len(self.slots[slot]):
            del self.slots[slot][length:]
            if self._context is not None:
                self._truncate(slot + 1, len(self.prefix) + length)

    def append(self, rows: Sequence[Row]) -> list[tuple[tuple[int, int], Scores]]:
        """Compute new tokens of slots; returns the scores of the watched ones with their places."""
        self._reserve(len(self.prefix) + sum(map(len, self.slots)) + len(rows))
        scores = self._compute(rows)
        for row in rows:
            self.slots[row.sequence - 1].append(row.token_id)
        return scores

    def close(self) -> None:
        """Free the context. May be called again."""
        if self._context is not None:
            self._freeing()
            self._context = None

    def _reserve(self, n_cells: int) -> bool:
        """Make room for n_cells; False if that took a new context, with prefix and slots in it."""
        if self._context is not None and n_cells <= self._n_cells:
            return True
        self._open(n_cells + max(_CELL_BLOCK, n_cells // 4))
        self._compute(silent_rows(self.prefix, 0, 0))
        self._share_prefix()
        for number, slot in enumerate(self.slots):
            self._compute(silent_rows(slot, number + 1, len(self.prefix)))
        return False

    def _open(self, n_cells: int) -> None:
        self.close()
        n_cells += -n_cells % _CELL_BLOCK
        start_llama()
        self._context = llama_cpp.llama_init_from_model(self._model.pointer, self._parameters(n_cells))
        if not self._context:
            self._context = None
            reason = first_error("llama.cpp gives no reason")
            raise ModelError(f"{self._model.path}: cannot open a context of {n_cells} tokens: {reason}")
        self._freeing = weakref.finalize(self, _free_context, self._context, self._model)
        self._freeing.atexit = False
        if self._lora is not None:
            self._lora.apply(self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._n_cells = n_cells

    def _parameters(self, n_cells: int) -> Any:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = n_cells
        parameters.n_batch = parameters.n_ubatch = _N_BATCH
        parameters.n_seq_max = len(self.slots) + 1
        parameters.n_outputs_max = self._n_outputs
        parameters.n_outputs_max_per_seq = 0  # as many as n_outputs_max
        parameters.n_threads = parameters.n_threads_batch = self._n_threads
        if self._exact:
            parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
            # Flash attention computes in float16 here and there.
            parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        else:
            parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F16
        parameters.kv_unified = True  # all sequences share one buffer, and so the prefix's cells
        parameters.swa_full = True  # a sliding window must not forget what a truncation brings back
        return parameters

    def _truncate(self, sequence: int, length: int) -> None:
        """Drop what the sequence (-1: every one) holds from position `length` on."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise ModelError(f"{self._model.path}: llama.cpp cannot shorten its cache to {length} tokens")

    def _share_prefix(self) -> None:
        for sequence in range(1, len(self.slots) + 1):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def _compute(self, rows: Sequence[Row]) -> list[tuple[tuple[int, int], Scores]]:
        """Run the rows through the model, in as few calls as the batch and the memory for logits allow."""
        found: list[tuple[tuple[int, int], Scores]] = []
        try:
            for part in split_rows(rows, _N_BATCH, self._n_outputs):
                watched = [row for row in part if row.watch is not None]
                self._decode(part)
                if watched:
                    scores = score_rows(
                        self._logits(len(watched)),
                        [row.watch or () for row in watched],
                        [row.summary for row in watched],
                    )
                    found += zip([row.place for row in watched], scores, strict=True)
        except BaseException:  # an interrupt, too: the cache no longer holds what the slots say
            self.close()
            raise
        return found

    def _decode(self, part: Sequence[Row]) -> None:
        code = llama_cpp.llama_decode(self._context, self._batch.filled(part))
        if code == _NO_CELLS:
            raise ModelError(f"{self._model.path}: no room for {len(part)} tokens in {self._n_cells} cells")
        if code != 0:
            reason = first_error(f"code {code}")
            raise ModelError(f"{self._model.path}: llama.cpp could not evaluate {len(part)} tokens: {reason}")

    def _logits(self, n_rows: int) -> NDArray[np.float32]:
        """llama.cpp's own buffer, in the order of the rows; the next call of llama_decode overwrites it."""
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(n_rows, self._n_vocabulary))


def _free_context(context: Any, _model: LlamaModel) -> None:
    """The model is an argument so that it is freed after its context."""
    llama_cpp.llama_free(context)
