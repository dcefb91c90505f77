"""A graph with its weights, opened with ONNX Runtime and run over one sequence at a time.

Nothing that a run computes for a token depends on the tokens after it, on how many there are, or on the size
of the cache, to the last bit. So a draft gets the scores of its tokens one by one, and an answer depends on
no other sentence. (A run of one token would be an exception; see `cache.py`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, ModelError
from ..gguf_file import GgufFile
from .model_files import GGUF_KEY, Precision, graph_path
from .weights import LlamaShape, rotations, weights_of

try:
    import onnxruntime
except ModuleNotFoundError:
    raise MissingExtraError("onnxruntime") from None
except ImportError as problem:  # a system library that it needs
    raise ModelError(f"onnxruntime cannot be used here: {problem}") from None

__all__ = ["Graph", "onnxruntime"]

_OLDEST = (1, 20)
_NO_MESSAGES = 4  # below a crash: its errors come as exceptions
_LONGEST_REASON = 200


class Graph:
    """An open graph. Raises ModelError, naming the file, if it cannot be used with the GGUF.

    embeddings: shape (vocabulary, hidden); the output layer, too.
    """

    def __init__(self, file: GgufFile, precision: Precision, *, n_threads: int, context_length: int) -> None:
        self.path = graph_path(file.path, precision)
        self.shape = LlamaShape.of(file)
        if not self.path.exists():
            raise ModelError(f"{self.path}: the graph of {file.path.name} is missing; use --backend llamacpp")
        weights = weights_of(file, self.shape, precision)
        self.embeddings = weights["embeddings"]
        # One position more than the context: `cache.py` may append a token that nothing sees.
        self._rotations = rotations(self.shape, context_length + 1)
        self._hidden = np.empty((0, self.shape.n_hidden), np.float32)
        self._positions = np.zeros(2, np.int32)  # the last one, and how many there are
        self._session: Any = self._open(weights, n_threads)
        if self._session.get_modelmeta().custom_metadata_map.get(GGUF_KEY) != file.sha256:
            raise ModelError(f"{self.path}: not the graph of {file.path.name}, but of another GGUF")

    def close(self) -> None:
        """Free the weights. May be called again."""
        self._session = None
        self.embeddings = self.embeddings[:0]

    def binding(self) -> Any:
        """New bindings of inputs and outputs to memory; those of the cache are still to be made."""
        binding = self._session.io_binding()
        for name, table in zip(("cosines", "sines"), self._rotations, strict=True):
            binding.bind_input(name, "cpu", 0, np.float32, table.shape, table.ctypes.data)
        last, number = self._positions[:1], self._positions[1:].reshape(())
        for name, place in (("last_position", last), ("n_positions", number)):
            binding.bind_input(name, "cpu", 0, np.int32, place.shape, place.ctypes.data)
        return binding

    def run(
        self, binding: Any, n_before: int, token_ids: Sequence[int], watched: Sequence[int]
    ) -> NDArray[np.float32]:
        """Append tokens to the cache that is bound, after n_before; returns the hidden states of some.

        watched: which of the new tokens, in order. Shape of the result: (watched, hidden); the next run
        overwrites it. Raises ModelError.
        """
        n_positions = n_before + len(token_ids)
        rows = watched or [len(token_ids) - 1]  # older versions of onnxruntime refuse arrays without rows
        if len(rows) > len(self._hidden):
            self._hidden = np.empty((2 * len(rows), self.shape.n_hidden), np.float32)
        hidden = self._hidden[: len(rows)]
        self._positions[:] = n_positions - 1, n_positions
        binding.bind_cpu_input("token_ids", np.array([token_ids], np.int64))
        binding.bind_cpu_input("watched", np.array(rows, np.int64))
        binding.bind_output("hidden", "cpu", 0, np.float32, (1, *hidden.shape), hidden.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # its exceptions share no class of their own
            raise ModelError(
                f"{self.path}: onnxruntime could not evaluate {len(token_ids)} tokens: {_reason(error)}"
            ) from None
        return hidden[: len(watched)]

    def _open(self, weights: Mapping[str, NDArray[Any]], n_threads: int) -> Any:
        version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
        if version < _OLDEST:
            raise ModelError(
                f"onnxruntime {onnxruntime.__version__} is too old for {self.path.name}: "
                f"pip install 'onnxruntime>={'.'.join(map(str, _OLDEST))}'"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _NO_MESSAGES
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            options.add_external_initializers(
                list(weights), [onnxruntime.OrtValue.ortvalue_from_numpy(n) for n in weights.values()]
            )
            return onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a damaged graph, one of another shape, or a missing operator
            raise ModelError(
                f"{self.path}: onnxruntime {onnxruntime.__version__} cannot run the graph: {_reason(error)}"
            ) from None


def _reason(error: Exception) -> str:
    """The first line of an exception of onnxruntime, without its code."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.rpartition("[ONNXRuntimeError] : ")[2][:_LONGEST_REASON]
