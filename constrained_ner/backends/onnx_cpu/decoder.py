"""An open decoder: the network of a GGUF with its weights, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..bundled_cpu.graph import OpenGraph, runtime_version
from ..bundled_cpu.model_files import Precision
from ..gguf_file import GgufFile
from .decoder_shape import DecoderShape
from .lora import Lora
from .network import network_of, table_names
from .token_rows import TokenRows
from .weights import weights_of

_WHOLE, _ENOUGH_POSITIONS = 128, 65
"""ONNX Runtime sums over more than 128 numbers in parts, but not for 64 columns or fewer (`MlasSgemm`)."""

_WINDOWS_ARE_RIGHT = (1, 32)
"""Earlier versions of ONNX Runtime make a window one token longer (1.20 does), so none is used there."""


class Decoder(OpenGraph):
    """Raises ModelError, naming the file, for a model or a LoRA that it cannot compute.

    output_rows: the output layer. context_length: the one that was asked for, or as much of it as is right.
    """

    def __init__(
        self, file: GgufFile, precision: Precision, *, lora: Lora | None, n_threads: int, context_length: int
    ) -> None:
        shape = DecoderShape.of(file)
        if runtime_version() < _WINDOWS_ARE_RIGHT:
            context_length = min([context_length, *filter(None, shape.windows)])
        self.context_length = context_length
        weights = weights_of(file, shape, precision, lora)
        self._embeddings = TokenRows(file, "token_embd.weight")
        self._scale = np.float32(np.sqrt(shape.n_hidden) if shape.family.scaled_rows else 1)
        self.output_rows = self._embeddings if shape.tied else TokenRows(file, "output.weight")
        if shape.head_size > _WHOLE:
            self.least_positions = _ENOUGH_POSITIONS
        # One position more than the context: `cache.py` may append tokens that nothing sees.
        tables = dict(_tables(shape, max(context_length + 1, self.least_positions)))
        content = network_of(shape, weights, context_length)
        rows = ("rows", self._embedded)
        super().__init__(file.path, content, shape, weights, tables, rows, n_threads=n_threads)

    def _embedded(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._embeddings[token_ids] * self._scale
        return rows[None]


def _tables(shape: DecoderShape, n_positions: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Cosines and sines of every position for every rotation, shape (positions, half of the head)."""
    for rotation in sorted(set(shape.rotations)):
        frequencies = rotation.base ** -(np.arange(0, shape.head_size, 2) / shape.head_size)
        angles = np.outer(np.arange(n_positions) / rotation.factor, frequencies)
        cosines, sines = table_names(rotation)
        yield cosines, np.cos(angles).astype(np.float32)
        yield sines, np.sin(angles).astype(np.float32)
