"""The bundled model without a compiler: a small Llama in a GGUF as a LogitsBackend, through ONNX Runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..gguf_file import ADAPTER_KEY, GgufFile
from ..protocol import Scores, Step
from ..scoring import NOT_NUMBERS, check_prefix, check_steps, common_length, score_rows
from .cache import SlotCache
from .graph import Graph, OpenGraph, onnxruntime
from .model_files import Precision
from .tokenizer import vocabulary_of_gguf

DRAFT_HORIZON = 24
"""Tokens of a draft. On 160 sentences of DDI train, 24 tokens take 5 % less processor time than 16, as much
as 32, and 13 % less than whole drafts."""


class GraphBackend(ABC):
    """What back ends with a graph share: slots that run one by one, and watched rows of the output layer."""

    shows_logits: Literal[True] = True
    draft_horizon: int | None = DRAFT_HORIZON
    thread_safe = False
    base_model: str | None = None
    context_length: int

    def __init__(self, path: Path, graph: OpenGraph, n_slots: int) -> None:
        self.max_sequences = n_slots
        self._path = path
        self._graph = graph
        self._slots = [SlotCache(graph) for _ in range(n_slots)]
        self._n_prefix = 0

    @abstractmethod
    def _output_rows(self, ids: list[int]) -> NDArray[np.float32]:
        """A copy of the rows of the output layer for these ids, shape (ids, hidden)."""

    @abstractmethod
    def _all_logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """The whole output layer, shape (hidden states, vocabulary)."""

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        self._require_open()
        check_prefix(prefix_ids, self.context_length)
        first, *others = self._slots
        n_shared = common_length(first.token_ids[: self._n_prefix], prefix_ids)
        self._n_prefix = 0  # until the new one is computed
        if n_shared < len(prefix_ids):
            first.append(n_shared, prefix_ids[n_shared:], ())
        del first.token_ids[len(prefix_ids) :]
        for slot in others:
            slot.copy(first, len(prefix_ids))
        self._n_prefix = len(prefix_ids)

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        self._require_open()
        lengths = [len(slot.token_ids) - self._n_prefix for slot in self._slots]
        check_steps(steps, lengths, self._n_prefix, self.context_length)
        return [self._advance(step) for step in steps]

    def _advance(self, step: Step) -> list[Scores | None]:
        watched = [at for at, watch in enumerate(step.watch) if watch is not None]
        hidden = self._slots[step.sequence].append(self._n_prefix + step.keep, step.token_ids, watched)
        answers: list[Scores | None] = [None] * len(step.token_ids)
        watches = [watch for watch in step.watch if watch is not None]
        for at, scores in zip(watched, self._scores(hidden, watches, step.summary), strict=True):
            answers[at] = scores
        return answers

    def _scores(
        self, hidden: NDArray[np.float32], watches: Sequence[Sequence[int]], summary: bool
    ) -> list[Scores]:
        """The output layer for the watched ids, and its summary over the vocabulary if that is wanted."""
        logits = self._logits(hidden, watches)
        if not (summary and watches):  # the summary costs more than all the rest of the model
            return [Scores(row, None, None) for row in logits]
        n = len(watches)
        summaries = score_rows(self._all_logits(hidden), [()] * n, [True] * n)
        return [Scores(row, s.logsumexp, s.best) for row, s in zip(logits, summaries, strict=True)]

    def _logits(
        self, hidden: NDArray[np.float32], watches: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """One product a watched id, so that none depends on what else is watched."""
        lengths = [*map(len, watches)]
        products = self._output_rows([*chain.from_iterable(watches)])
        products *= hidden.repeat(lengths, axis=0)
        logits = np.add.reduce(products, axis=1)
        if not np.isfinite(logits).all():
            raise ModelError(NOT_NUMBERS)
        return [logits[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]

    def _require_open(self) -> None:
        if not self._slots:
            raise ModelError(f"{self._path}: the model is closed")

    def close(self) -> None:
        self._slots = []
        self._graph.close()


class BundledCpuBackend(GraphBackend):
    """A GGUF with a graph beside it (see `export/graph.py`), on the processor. Sequences run one by one.

    threads: one by default: the products are too small to share.
    context: context length in tokens; None takes the length that the model was trained for.
    batch: sequences whose tokens are held at once. It makes nothing faster and changes no answer.
    precision: int8 does most products in integers (see `weights.py`). float32 does none:
        its scores are those of llama.cpp with the weights in float32.

    Raises ModelError, naming the path, for a model without a graph or with that of another, and if ONNX
    Runtime cannot run it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        context: int | None = None,
        batch: int = 1,
        precision: Precision = "int8",
    ) -> None:
        self._file = GgufFile(path)
        self.vocabulary = vocabulary_of_gguf(self._file)
        self.context_length = context or int(self._file.of_architecture("context_length", 0))
        self.temperature = self._file.temperature
        self.chat_template: str | None = self._file.metadata.get("tokenizer.chat_template")
        self.adapter_card: str | None = self._file.metadata.get(ADAPTER_KEY)
        self._precision = precision
        self._n_threads = threads or 1
        graph = Graph(self._file, precision, n_threads=self._n_threads, context_length=self.context_length)
        self._embeddings = graph.embeddings
        super().__init__(self._file.path, graph, batch)

    @cached_property
    def identity(self) -> dict[str, str]:
        return {
            "backend": "bundled-cpu",
            "sha256": self._file.sha256,
            "precision": self._precision,
            "device": "cpu",
        }

    @property
    def description(self) -> dict[str, str]:
        return {
            "backend": "bundled-cpu",
            "name": self._file.path.name,
            "path": str(self._file.path),
            **self.identity,
            "device": f"cpu, {self._n_threads} threads",
            "version": f"onnxruntime {onnxruntime.__version__}",
        }

    def _output_rows(self, ids: list[int]) -> NDArray[np.float32]:
        return self._embeddings.take(ids, axis=0)

    def _all_logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = hidden @ self._embeddings.T
        return logits

    def close(self) -> None:
        super().close()
        self._embeddings = self._embeddings[:0]
