"""The bundled model without a compiler: a small Llama in a GGUF as a LogitsBackend, through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..gguf_file import ADAPTER_KEY, GgufFile
from ..protocol import Scores, Step
from ..scoring import NOT_NUMBERS, check_prefix, check_steps, common_length, score_rows
from .cache import SlotCache
from .graph import Graph, onnxruntime
from .tokenizer import vocabulary_of_gguf
from .weights import Precision


class BundledCpuBackend:
    shows_logits: Literal[True] = True
    thread_safe = False
    base_model: str | None = None

    def __init__(self, path, *, threads=None, context=None, batch=1, precision: Precision="int8", lse=True):
        self._file = GgufFile(path)
        self.temperature = self._file.temperature
        self.chat_template = self._file.metadata.get("tokenizer.chat_template")
        self.adapter_card = None
        self.vocabulary = vocabulary_of_gguf(self._file)
        self.context_length = context or 1024
        self.max_sequences = batch
        self.precision = precision
        self._graph = Graph(self._file, precision, n_threads=threads or 1, context_length=self.context_length)
        self._slots = [SlotCache(self._graph) for _ in range(batch)]
        self._n_prefix = 0
        self.lse = lse
    @property
    def identity(self):
        return {"backend": "bundled-cpu"}
    description = identity

    def prefill(self, prefix_ids):
        check_prefix(prefix_ids, self.context_length)
        first, *others = self._slots
        kept = common_length(first.token_ids[: self._n_prefix], prefix_ids)
        self._n_prefix = 0
        if len(prefix_ids) > kept:
            first.append(kept, prefix_ids[kept:], [])
        del first.token_ids[len(prefix_ids) :]
        for slot in others:
            slot.copy(first, len(prefix_ids))
        self._n_prefix = len(prefix_ids)

    def forward(self, steps):
        lengths = [len(slot.token_ids) - self._n_prefix for slot in self._slots]
        check_steps(steps, lengths, self._n_prefix, self.context_length)
        return [self._advance(step) for step in steps]

    def _advance(self, step):
        watched = [at for at, watch in enumerate(step.watch) if watch is not None]
        slot = self._slots[step.sequence]
        hidden = slot.append(self._n_prefix + step.keep, step.token_ids, watched)
        if hidden.shape[0] == 0: return [None] * len(step.watch)
        scores = iter(self._scores(hidden, [watch for watch in step.watch if watch is not None]))
        return [None if watch is None else next(scores) for watch in step.watch]

    def _scores(self, hidden, watches):
        lengths = [len(watch) for watch in watches]
        columns = np.fromiter(chain.from_iterable(watches), np.intp, sum(lengths))
        rows = np.repeat(hidden, lengths, axis=0)
        logits = np.matmul(rows[:, None, :], self._graph.embeddings[columns][:, :, None])[:, 0, 0]
        if self.lse:
            full = score_rows(hidden @ self._graph.embeddings.T, [()] * len(watches))
        out = []; end = 0
        for i, n in enumerate(lengths):
            out.append(Scores(logits[end:end+n], full[i].logsumexp if self.lse else 1e9, full[i].best if self.lse else -1)); end += n
        return out
    def close(self): pass
