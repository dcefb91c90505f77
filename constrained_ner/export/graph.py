"""Writes the graph that ONNX Runtime computes for a small Llama (`backends/bundled_cpu`).

One sequence a run, about ten operators a layer. The graph holds no weights: it declares them, and the back
end makes them from the GGUF (`bundled_cpu/weights.py`). In its metadata is the SHA-256 of that GGUF.

    token_ids --embeddings--> rows -> layers -> watched rows --norm--> hidden
    keys and values of each layer, in and out: one buffer, written in place at the new positions
    cosines and sines of all positions, by which queries and keys are rotated
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..backends.bundled_cpu.model_files import GGUF_KEY, Precision, graph_path
from ..backends.bundled_cpu.weights import LlamaShape, weights_of
from ..backends.gguf_file import GgufFile
from ..errors import MissingExtraError
from .gguf import written_whole

try:
    from onnx import helper

    from ..backends.graph_builder import RUNTIME_OPERATORS, GraphBuilder, value
except ImportError:
    raise MissingExtraError("onnx", "train") from None


def write_graphs(model: Path) -> list[Path]:
    """Write the graphs of a GGUF beside it, one for each precision. Raises ModelError, OutputError."""
    file = GgufFile(model)
    shape = LlamaShape.of(file)
    written = []
    for precision in get_args(Precision):
        graph = _Graph(shape, weights_of(file, shape, precision)).finished(file.sha256)
        content = graph.SerializeToString()
        path = graph_path(model, precision)
        with written_whole(path, len(content)) as partial:
            partial.write_bytes(content)
        written.append(path)
    return written


class _Graph(GraphBuilder):
    """The graph of a plain Llama. Its norms are multiplied into the matrices, but for the last one."""

    def __init__(self, shape: LlamaShape, weights: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(shape, weights)
        self.shape = shape
        self.add("Gather", ["embeddings", "token_ids"], ["rows"])
        self.layers(self._layer)

    def finished(self, sha256: str) -> Any:
        """The model as a file holds it. sha256: of the GGUF."""
        model = self.model("llama", [value("token_ids", [1, "tokens"], np.int64)], ["cosines", "sines"])
        helper.set_model_props(model, {GGUF_KEY: sha256})
        return model

    def _layer(self, layer: int, rows: str, added: str | None) -> tuple[str, str]:
        """Add a layer. rows, added: what comes in is their sum. Returns the same of what goes out."""
        at = f"{layer}."
        normalised, rows = self.normalised(rows, added, "ones", f"{at}normalised")
        projected = self.product(normalised, f"{at}attend")  # queries, keys, values a row
        # Neighbours are rotated together, as in the GGUF.
        attended = self.attention(layer, [projected, "", ""], ("cosines", "sines"), neighbours=True)
        if layer == self.shape.n_layers - 1:  # what follows is done for watched rows only
            attended = self.add("Gather", [attended, "watched"], axis=1)
            rows = self.add("Gather", [rows, "watched"], axis=1)
        change = self.product(attended, f"{at}attended")
        normalised, rows = self.normalised(rows, change, "ones", f"{at}normalised again")
        gate, up = self.product(normalised, f"{at}gate"), self.product(normalised, f"{at}up")
        gated = self.add("QuickGelu", [gate], alpha=1.0, domain=RUNTIME_OPERATORS)
        return rows, self.product(self.add("Mul", [gated, up]), f"{at}down")
