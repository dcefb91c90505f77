"""A graph with its weights, opened with ONNX Runtime and run over one sequence at a time.

Nothing that a run computes for a token depends on the tokens after it, on how many there are, or on the size
of the cache, to the last bit. So a draft gets the scores of its tokens one by one, and an answer depends on
no other sentence. (A run of one token would be an exception; see `cache.py`.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

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

__all__ = ["Graph", "OpenGraph", "onnxruntime", "runtime_version"]

_OLDEST = (1, 20)
_NO_BLOCKS = "ORT_GQA_DISABLE_FLASH_ATTENTION"
_NO_MESSAGES = 4  # below a crash: its errors come as exceptions
_LONGEST_REASON = 200


def runtime_version() -> tuple[int, ...]:
    """Of ONNX Runtime, for example (1, 20)."""
    return tuple(map(int, onnxruntime.__version__.split(".")[:2]))


class CacheShape(Protocol):
    """The sizes that keys, values and hidden states have."""

    @property
    def n_layers(self) -> int: ...
    @property
    def n_key_heads(self) -> int: ...
    @property
    def head_size(self) -> int: ...
    @property
    def n_hidden(self) -> int: ...


class OpenGraph:
    """A graph in ONNX Runtime with its weights. Raises ModelError, naming the path, if it cannot be run.

    least_positions: so many must be in every run, for its bits to depend on nothing else.

    content: the graph, or the path of its file. tables: inputs that are the same in every run.
    token_input: what the graph takes for tokens, by name and as a function of their ids.
    """

    least_positions = 2

    def __init__(
        self,
        path: Path,
        content: bytes | Path,
        shape: CacheShape,
        weights: Mapping[str, NDArray[Any]],
        tables: Mapping[str, NDArray[np.float32]],
        token_input: tuple[str, Callable[[Sequence[int]], NDArray[Any]]],
        *,
        n_threads: int,
    ) -> None:
        self.path = path
        self.shape = shape
        self._tables = tables
        self._token_input = token_input
        self._positions = np.zeros(2, np.int32)  # the last one, and how many there are
        self._hidden = np.empty((0, shape.n_hidden), np.float32)
        self._session: Any = self._open(content, weights, n_threads)

    def close(self) -> None:
        """Free the weights. May be called again."""
        self._session = None

    def binding(self) -> Any:
        """New bindings of inputs and outputs to memory; those of the cache are still to be made."""
        binding = self._session.io_binding()
        for name, table in self._tables.items():
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
        name, numbers_of = self._token_input
        binding.bind_cpu_input(name, numbers_of(token_ids))
        binding.bind_cpu_input("watched", np.array(rows, np.int64))
        binding.bind_output("hidden", "cpu", 0, np.float32, (1, *hidden.shape), hidden.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # its exceptions share no class of their own
            raise ModelError(
                f"{self.path}: onnxruntime could not evaluate {len(token_ids)} tokens: {_reason(error)}"
            ) from None
        return hidden[: len(watched)]

    def _open(self, content: bytes | Path, weights: Mapping[str, NDArray[Any]], n_threads: int) -> Any:
        if runtime_version() < _OLDEST:
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
            with _attention_in_one_piece():
                return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a damaged graph, one of another shape, or a missing operator
            raise ModelError(
                f"{self.path}: onnxruntime {onnxruntime.__version__} cannot run the graph: {_reason(error)}"
            ) from None


class Graph(OpenGraph):
    """The graph beside a GGUF. Raises ModelError, naming the file, if it cannot be used with the GGUF.

    embeddings: shape (vocabulary, hidden); the output layer, too.
    """

    def __init__(self, file: GgufFile, precision: Precision, *, n_threads: int, context_length: int) -> None:
        path = graph_path(file.path, precision)
        shape = LlamaShape.of(file)
        if not path.exists():
            raise ModelError(f"{path}: the graph of {file.path.name} is missing; use --backend llamacpp")
        weights = weights_of(file, shape, precision)
        self.embeddings = weights["embeddings"]
        # One position more than the context: `cache.py` may append a token that nothing sees.
        tables = dict(zip(("cosines", "sines"), rotations(shape, context_length + 1), strict=True))
        token_ids = ("token_ids", lambda token_ids: np.array([token_ids], np.int64))
        super().__init__(path, path, shape, weights, tables, token_ids, n_threads=n_threads)
        if self._session.get_modelmeta().custom_metadata_map.get(GGUF_KEY) != file.sha256:
            raise ModelError(f"{path}: not the graph of {file.path.name}, but of another GGUF")


@contextmanager
def _attention_in_one_piece() -> Iterator[None]:
    """Sessions that are opened here sum a row's attention over all positions at once.

    In blocks, whose size follows from the processor's cache, the rounding of a row depends on how many rows
    and positions there are. Newer versions of ONNX Runtime read this variable when a session is opened.
    """
    before = os.environ.get(_NO_BLOCKS)
    os.environ[_NO_BLOCKS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_BLOCKS]
        else:
            os.environ[_NO_BLOCKS] = before


def _reason(error: Exception) -> str:
    """The first line of an exception of onnxruntime, without its code."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.rpartition("[ONNXRuntimeError] : ")[2][:_LONGEST_REASON]
