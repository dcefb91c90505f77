"""The network of a decoder as an ONNX graph, made in memory when a GGUF is opened.

As in `export/graph.py`, it declares its weights and does not hold them; here it also takes the embedded rows,
since a vocabulary may be larger than all the rest of the model.

    rows -> layers -> watched rows --norm--> hidden
    keys and values of each layer, in and out: one buffer, written in place at the new positions

In int8 each row of activations is quantised with its own scale, so that no row depends on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError
from ..bundled_cpu.model_files import MIDDLE
from .decoder_shape import DecoderShape, Rotation

try:
    import onnx
    from onnx import TensorProto, helper
except ImportError:
    raise MissingExtraError("onnx", "onnx") from None

_OPERATORS, _RUNTIME_OPERATORS = 21, "com.microsoft"
_FORMAT = 10  # of the file; onnxruntime 1.18 reads it
_TINY = 1e-30  # a row of zeros has a scale, too
_MIDDLES = onnx.numpy_helper.from_array(np.array([MIDDLE], np.uint8))  # what quantised rows have for zero


def network_of(shape: DecoderShape, weights: Mapping[str, NDArray[Any]], context_length: int) -> bytes:
    """The network as the content of an ONNX file.

    context_length: layers with a window that is no shorter need not look at it.
    """
    content: bytes = _Network(shape, weights, context_length).finished().SerializeToString()
    return content


def table_names(rotation: Rotation) -> tuple[str, str]:
    """The inputs that take the cosines and the sines of a rotation."""
    return f"cosines {rotation}", f"sines {rotation}"


class _Network:
    """A network in the making: operators are added in the order in which they run."""

    def __init__(self, shape: DecoderShape, weights: Mapping[str, NDArray[Any]], context_length: int) -> None:
        self.shape = shape
        self.weights = weights
        self.context_length = context_length
        self.nodes: list[Any] = []
        self.constants = [_declared(name, numbers) for name, numbers in weights.items()]
        self._constant_names: set[str] = set()
        self._done: dict[str, tuple[str, str]] = {}  # rows -> quantised
        self._build()

    def finished(self) -> Any:
        graph = helper.make_graph(self.nodes, "decoder", self._inputs(), self._outputs(), self.constants)
        operators = [helper.make_opsetid("", _OPERATORS), helper.make_opsetid(_RUNTIME_OPERATORS, 1)]
        return helper.make_model(
            graph, opset_imports=operators, ir_version=_FORMAT, producer_name="constrained-ner"
        )

    def _inputs(self) -> list[Any]:
        sizes = ["positions", self.shape.head_size // 2]
        tables = [
            _value(name, sizes, np.float32)
            for rotation in sorted(set(self.shape.rotations))
            for name in table_names(rotation)
        ]
        return [
            _value("rows", [1, "tokens", self.shape.n_hidden], np.float32),
            _value("watched", ["rows"], np.int64),
            _value("last_position", [1], np.int32),
            _value("n_positions", [], np.int32),
            *tables,
            *self._cache("past", "cells"),
        ]

    def _outputs(self) -> list[Any]:
        hidden = _value("hidden", [1, "rows", self.shape.n_hidden], np.float32)
        return [hidden, *self._cache("present", "cells after")]

    def _cache(self, name: str, cells: str) -> list[Any]:
        sizes = [1, self.shape.n_key_heads, cells, self.shape.head_size]
        return [
            _value(f"{name}.{kind}.{layer}", sizes, np.float32)
            for layer in range(self.shape.n_layers)
            for kind in ("keys", "values")
        ]

    def _build(self) -> None:
        rows, added = "rows", None
        for layer in range(self.shape.n_layers):
            rows, added = self._layer(layer, rows, added)
        assert added is not None, "a model has layers"
        self._normalised(rows, added, "norm", "hidden")

    def _layer(self, layer: int, rows: str, added: str | None) -> tuple[str, str]:
        """Add a layer. rows, added: what comes in is their sum. Returns the same of what goes out."""
        at = f"{layer}."
        normalised, rows = self._normalised(rows, added, f"{at}attn_norm", f"{at}normalised")
        attended = self._attention(layer, self._product(normalised, f"{at}attend"))
        if layer == self.shape.n_layers - 1:  # what follows is done for watched rows only
            attended = self._add("Gather", [attended, "watched"], axis=1)
            rows = self._add("Gather", [rows, "watched"], axis=1)
        change = self._product(attended, f"{at}attended")
        if self.shape.family.post_norms:
            change = self._norm(change, f"{at}post_attention_norm")
        normalised, rows = self._normalised(rows, change, f"{at}ffn_norm", f"{at}normalised again")
        gate, up = self._product(normalised, f"{at}gate"), self._product(normalised, f"{at}up")
        change = self._product(self._add("Mul", [self._activated(gate), up]), f"{at}down")
        if self.shape.family.post_norms:
            change = self._norm(change, f"{at}post_ffw_norm")
        return rows, change

    def _activated(self, gate: str) -> str:
        if self.shape.family.activation == "gelu":  # by the tangent
            return self._add("FastGelu", [gate], domain=_RUNTIME_OPERATORS)
        return self._add("QuickGelu", [gate], alpha=1.0, domain=_RUNTIME_OPERATORS)

    def _norm(self, rows: str, weight: str, name: str | None = None) -> str:
        outputs = [name] if name else None
        return self._add(
            "SimplifiedLayerNormalization", [rows, weight], outputs, axis=-1, epsilon=self.shape.epsilon
        )

    def _normalised(self, rows: str, added: str | None, weight: str, name: str) -> tuple[str, str]:
        """The sum of both, normalised, and the sum itself."""
        if added is None:
            return self._norm(rows, weight, name), rows
        self._add(
            "SkipSimplifiedLayerNormalization",
            [rows, added, weight],
            [name, "", "", f"{name} sum"],
            domain=_RUNTIME_OPERATORS,
            epsilon=self.shape.epsilon,
        )
        return name, f"{name} sum"

    def _attention(self, layer: int, projected: str) -> str:
        """Rotate, write keys and values into the cache, attend. projected: queries, keys, values a row."""
        shape = self.shape
        inputs = [projected, "", ""]
        if shape.family.head_norms:
            inputs = self._normalised_heads(layer, projected)
        window = shape.windows[layer]
        seen = {} if window is None or window >= self.context_length else {"local_window_size": window}
        inputs += [f"past.keys.{layer}", f"past.values.{layer}", "last_position", "n_positions"]
        outputs = [f"{layer}.attention", f"present.keys.{layer}", f"present.values.{layer}"]
        self._add(
            "GroupQueryAttention",
            [*inputs, *table_names(shape.rotations[layer])],
            outputs,
            domain=_RUNTIME_OPERATORS,
            num_heads=shape.n_heads,
            kv_num_heads=shape.n_key_heads,
            do_rotary=1,
            rotary_interleaved=int(shape.family.neighbours),
            **seen,
        )
        return outputs[0]

    def _normalised_heads(self, layer: int, projected: str) -> list[str]:
        """Queries and keys with every head normalised, and values."""
        shape, size = self.shape, self.shape.head_size
        counts = [shape.n_heads, shape.n_key_heads, shape.n_key_heads]
        widths = self._constant([count * size for count in counts], np.int64)
        queries, keys, values = (f"{layer}.{name}" for name in ("queries", "keys", "values"))
        self._add("Split", [projected, widths], [queries, keys, values], axis=2)
        normalised = []
        for rows, count, weight in zip((queries, keys), counts, ("attn_q_norm", "attn_k_norm"), strict=False):
            heads = self._add("Reshape", [rows, self._constant([1, -1, size], np.int64)])
            heads = self._norm(heads, f"{layer}.{weight}")
            normalised.append(self._add("Reshape", [heads, self._constant([1, -1, count * size], np.int64)]))
        return [*normalised, values]

    def _product(self, rows: str, matrix: str) -> str:
        """The rows times a matrix: in integers if the matrix has a scale."""
        if f"{matrix}.scale" not in self.weights:
            return self._add("MatMul", [rows, matrix])
        integers, scale = self._quantised(rows)
        one, middle = self._constant(1, np.float32), self._constant(MIDDLE, np.uint8)
        inputs = [integers, matrix, one, f"{matrix}.scale", middle]
        product = self._add("MatMulIntegerToFloat", inputs, domain=_RUNTIME_OPERATORS)
        return self._add("Mul", [product, scale])

    def _quantised(self, rows: str) -> tuple[str, str]:
        """The rows as bytes, 128 for zero, and their scales as a column. Done once for the same rows."""
        if rows not in self._done:
            last = self._constant([-1], np.int64)
            others = self._constant([0, 2], np.int64)
            largest = self._add("ReduceMax", [self._add("Abs", [rows]), others], keepdims=0)
            scale = self._add("Mul", [largest, self._constant(1 / 127, np.float32)])
            scale = self._add("Add", [scale, self._constant(_TINY, np.float32)])
            middles = self._add("ConstantOfShape", [self._add("Shape", [scale])], value=_MIDDLES)
            integers = self._add("QuantizeLinear", [rows, scale, middles], axis=1)
            self._done[rows] = integers, self._add("Unsqueeze", [scale, last])
        return self._done[rows]

    def _constant(self, value: Any, kind: Any) -> str:
        numbers = np.asarray(value, kind)
        name = f"constant {numbers.tolist()} {numbers.dtype}"
        if name not in self._constant_names:
            self._constant_names.add(name)
            self.constants.append(onnx.numpy_helper.from_array(numbers, name))
        return name

    def _add(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        """Add an operator; returns the name of its first result."""
        outputs = outputs or [f"{kind} {len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]


def _value(name: str, sizes: list[Any], kind: Any) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), sizes)


def _declared(name: str, numbers: NDArray[Any]) -> Any:
    """A weight without its numbers, which the back end provides."""
    tensor = TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(numbers.dtype),
        dims=numbers.shape,
        data_location=TensorProto.EXTERNAL,
    )
    tensor.external_data.add(key="location", value="the GGUF")
    return tensor
