"""The network of a decoder as an ONNX graph, made in memory when a GGUF is opened.

As in `export/graph.py`, it declares its weights and does not hold them; here it also takes the embedded rows,
since a vocabulary may be larger than all the rest of the model.

    rows -> layers -> watched rows --norm--> hidden
    keys and values of each layer, in and out: one buffer, written in place at the new positions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError
from .decoder_shape import DecoderShape, Rotation

try:
    from ..graph_builder import RUNTIME_OPERATORS, GraphBuilder, value
except ImportError:
    raise MissingExtraError("onnx", "onnx") from None


def network_of(shape: DecoderShape, weights: Mapping[str, NDArray[Any]], context_length: int) -> bytes:
    """The network as the content of an ONNX file.

    context_length: layers with a window that is no shorter need not look at it.
    """
    content: bytes = _Network(shape, weights, context_length).finished().SerializeToString()
    return content


def table_names(rotation: Rotation) -> tuple[str, str]:
    """The inputs that take the cosines and the sines of a rotation."""
    return f"cosines {rotation}", f"sines {rotation}"


class _Network(GraphBuilder):
    """The graph of a decoder of any family that is known."""

    def __init__(self, shape: DecoderShape, weights: Mapping[str, NDArray[Any]], context_length: int) -> None:
        super().__init__(shape, weights)
        self.shape = shape
        self.context_length = context_length
        self.layers(self._layer)

    def finished(self) -> Any:
        tables = [name for rotation in sorted(set(self.shape.rotations)) for name in table_names(rotation)]
        rows = value("rows", [1, "tokens", self.shape.n_hidden], np.float32)
        return self.model("decoder", [rows], tables)

    def _layer(self, layer: int, rows: str, added: str | None) -> tuple[str, str]:
        """Add a layer. rows, added: what comes in is their sum. Returns the same of what goes out."""
        at = f"{layer}."
        normalised, rows = self.normalised(rows, added, f"{at}attn_norm", f"{at}normalised")
        attended = self._attention(layer, self.product(normalised, f"{at}attend"))
        if layer == self.shape.n_layers - 1:  # what follows is done for watched rows only
            attended = self.add("Gather", [attended, "watched"], axis=1)
            rows = self.add("Gather", [rows, "watched"], axis=1)
        change = self.product(attended, f"{at}attended")
        if self.shape.family.post_norms:
            change = self.norm(change, f"{at}post_attention_norm")
        normalised, rows = self.normalised(rows, change, f"{at}ffn_norm", f"{at}normalised again")
        gate, up = self.product(normalised, f"{at}gate"), self.product(normalised, f"{at}up")
        change = self.product(self.add("Mul", [self._activated(gate), up]), f"{at}down")
        if self.shape.family.post_norms:
            change = self.norm(change, f"{at}post_ffw_norm")
        return rows, change

    def _activated(self, gate: str) -> str:
        if self.shape.family.activation == "gelu":  # by the tangent
            return self.add("FastGelu", [gate], domain=RUNTIME_OPERATORS)
        return self.add("QuickGelu", [gate], alpha=1.0, domain=RUNTIME_OPERATORS)

    def _attention(self, layer: int, projected: str) -> str:
        """projected: queries, keys, values a row."""
        shape = self.shape
        inputs = self._normalised_heads(layer, projected) if shape.family.head_norms else [projected, "", ""]
        window = shape.windows[layer]
        seen = {} if window is None or window >= self.context_length else {"local_window_size": window}
        tables = table_names(shape.rotations[layer])
        return self.attention(layer, inputs, tables, neighbours=shape.family.neighbours, **seen)

    def _normalised_heads(self, layer: int, projected: str) -> list[str]:
        """Queries and keys with every head normalised, and values."""
        shape, size = self.shape, self.shape.head_size
        counts = [shape.n_heads, shape.n_key_heads, shape.n_key_heads]
        widths = self.constant([count * size for count in counts], np.int64)
        queries, keys, values = (f"{layer}.{name}" for name in ("queries", "keys", "values"))
        self.add("Split", [projected, widths], [queries, keys, values], axis=2)
        normalised = []
        for rows, count, weight in zip((queries, keys), counts, ("attn_q_norm", "attn_k_norm"), strict=False):
            heads = self.add("Reshape", [rows, self.constant([1, -1, size], np.int64)])
            heads = self.norm(heads, f"{layer}.{weight}")
            normalised.append(self.add("Reshape", [heads, self.constant([1, -1, count * size], np.int64)]))
        return [*normalised, values]
