"""The graph of a GGUF: where it is, opening it with ONNX Runtime, and running it over one sequence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, ModelError
from ..gguf_file import GgufFile
from .weights import LlamaShape, Precision, weights_of

try:
    import onnxruntime
except ImportError:
    raise MissingExtraError("onnxruntime", "") from None

GGUF_KEY = "constrained_ner.gguf_sha256"
"""Metadata of a graph: the SHA-256 of the GGUF whose weights it takes."""

_OLDEST = (1, 20)
_SEVERE = 4
_FIRST_CELLS = 256


def graph_path(model: str | Path, precision: Precision) -> Path:
    """Example: `folder/model.gguf` -> `folder/model.int8.onnx`"""
    return Path(model).with_suffix(f".{precision}.onnx")


class Graph:
    """An open graph with its weights; any number of caches may use it, one at a time.

    embeddings: the output layer, too; shape (vocabulary, hidden).
    Raises ModelError, in one line, for a graph that is missing, damaged or of another GGUF, and for an
    onnxruntime that cannot run it.
    """

    def __init__(self, file: GgufFile, precision: Precision, *, n_threads: int, context_length: int) -> None:
        self.path = graph_path(file.path, precision)
        self.shape = LlamaShape.of(file)
        weights = weights_of(file, self.shape, precision, context_length)
        self.embeddings = weights["embeddings"]
        self._hidden = np.empty((_FIRST_CELLS, self.shape.n_hidden), np.float32)
        self._session: Any = _open(self.path, weights, n_threads)
        belongs = self._session.get_modelmeta().custom_metadata_map.get(GGUF_KEY)
        if belongs != file.sha256:
            raise ModelError(f"{self.path}: the graph of another GGUF, not of {file.path.name}; write it again")

    def binding(self) -> Any:
        return self._session.io_binding()

    def run(self, binding: Any, token_ids: Sequence[int], watched: Sequence[int], n_before: int) -> NDArray[np.float32]:
        """Append tokens to a cache that keeps n_before; the hidden states of watched ones, until the next run."""
        n_positions = n_before + len(token_ids)
        if len(watched) > len(self._hidden):
            self._hidden = np.empty((2 * len(watched), self.shape.n_hidden), np.float32)
        hidden = self._hidden[: len(watched)]
        binding.bind_cpu_input("token_ids", np.array(token_ids, np.int64))
        binding.bind_cpu_input("watched", np.array(watched, np.int64))
        binding.bind_cpu_input("last_position", np.array([n_positions - 1], np.int32))
        binding.bind_cpu_input("n_positions", np.array(n_positions, np.int32))
        binding.bind_output("hidden", "cpu", 0, np.float32, hidden.shape, hidden.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime's own exceptions have no common class
            raise ModelError(f"{self.path}: onnxruntime could not evaluate {len(token_ids)} tokens: {_line(error)}") from None
        return hidden


def _open(path: Path, weights: dict[str, NDArray[Any]], n_threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERE
    import os
    if os.environ.get("DN"): options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers(
        list(weights), [onnxruntime.OrtValue.ortvalue_from_numpy(numbers) for numbers in weights.values()]
    )
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
