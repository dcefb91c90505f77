"""What the ONNX graphs of decoders are built of: `export/graph.py` and `onnx_cpu/network.py` put it together.

A graph declares its weights and does not hold them: the back end makes them from the GGUF. In int8 each row
of activations is quantised with its own scale, so that no row depends on another.

Importing it needs the package onnx; those who do say in which extra it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .bundled_cpu.graph import CacheShape
from .bundled_cpu.model_files import MIDDLE

RUNTIME_OPERATORS = "com.microsoft"

_OPERATORS = 21
_FORMAT = 10  # of the file; onnxruntime 1.18 reads it
_TINY = 1e-30  # a row of zeros has a scale, too
_MIDDLES = onnx.numpy_helper.from_array(np.array([MIDDLE], np.uint8))  # what quantised rows have for zero


class NetworkShape(CacheShape, Protocol):
    """The sizes of a decoder."""

    @property
    def n_heads(self) -> int: ...
    @property
    def epsilon(self) -> float: ...


class GraphBuilder:
    """A graph in the making: operators are added in the order in which they run.

    weights: by name. A matrix with a weight NAME.scale beside it is multiplied in integers.
    """

    def __init__(self, shape: NetworkShape, weights: Mapping[str, NDArray[Any]]) -> None:
        self._sizes = shape
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants = [_declared(name, numbers) for name, numbers in weights.items()]
        self._constant_names: set[str] = set()
        self._done: dict[str, tuple[str, str]] = {}  # rows -> quantised

    def layers(self, layer: Callable[[int, str, str | None], tuple[str, str]]) -> None:
        """Add the layers, from "rows" to "hidden".

        layer: adds one. It is given its number and two parts whose sum comes in, and returns those of what
        goes out.
        """
        rows, added = "rows", None
        for number in range(self._sizes.n_layers):
            rows, added = layer(number, rows, added)
        assert added is not None, "a model has layers"
        self.normalised(rows, added, "norm", "hidden")

    def model(self, name: str, token_inputs: list[Any], tables: list[str]) -> Any:
        """The graph as a file holds it. tables: the inputs for cosines and sines of all positions."""
        sizes = self._sizes
        inputs = [
            *token_inputs,
            value("watched", ["rows"], np.int64),
            value("last_position", [1], np.int32),
            value("n_positions", [], np.int32),
            *(value(table, ["positions", sizes.head_size // 2], np.float32) for table in tables),
            *self._cache("past", "cells"),
        ]
        hidden = value("hidden", [1, "rows", sizes.n_hidden], np.float32)
        outputs = [hidden, *self._cache("present", "cells after")]
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        operators = [helper.make_opsetid("", _OPERATORS), helper.make_opsetid(RUNTIME_OPERATORS, 1)]
        return helper.make_model(
            graph, opset_imports=operators, ir_version=_FORMAT, producer_name="constrained-ner"
        )

    def _cache(self, name: str, cells: str) -> list[Any]:
        sizes = [1, self._sizes.n_key_heads, cells, self._sizes.head_size]
        return [
            value(f"{name}.{kind}.{layer}", sizes, np.float32)
            for layer in range(self._sizes.n_layers)
            for kind in ("keys", "values")
        ]

    def norm(self, rows: str, weight: str, name: str | None = None) -> str:
        outputs = [name] if name else None
        return self.add(
            "SimplifiedLayerNormalization", [rows, weight], outputs, axis=-1, epsilon=self._sizes.epsilon
        )

    def normalised(self, rows: str, added: str | None, weight: str, name: str) -> tuple[str, str]:
        """The sum of both, normalised, and the sum itself."""
        if added is None:
            return self.norm(rows, weight, name), rows
        self.add(
            "SkipSimplifiedLayerNormalization",
            [rows, added, weight],
            [name, "", "", f"{name} sum"],
            domain=RUNTIME_OPERATORS,
            epsilon=self._sizes.epsilon,
        )
        return name, f"{name} sum"

    def attention(
        self, layer: int, inputs: list[str], tables: tuple[str, str], *, neighbours: bool, **more: Any
    ) -> str:
        """Rotate, write keys and values into the cache, attend.

        inputs: queries, keys and values, or all of them in the first one and two empty ones. neighbours:
        whether numbers that are rotated together stand side by side.
        """
        outputs = [f"{layer}.attention", f"present.keys.{layer}", f"present.values.{layer}"]
        return self.add(
            "GroupQueryAttention",
            [*inputs, f"past.keys.{layer}", f"past.values.{layer}", "last_position", "n_positions", *tables],
            outputs,
            domain=RUNTIME_OPERATORS,
            num_heads=self._sizes.n_heads,
            kv_num_heads=self._sizes.n_key_heads,
            do_rotary=1,
            rotary_interleaved=int(neighbours),
            **more,
        )

    def product(self, rows: str, matrix: str) -> str:
        """The rows times a matrix: in integers if the matrix has a scale."""
        if f"{matrix}.scale" not in self.weights:
            return self.add("MatMul", [rows, matrix])
        integers, scale = self._quantised(rows)
        one, middle = self.constant(1, np.float32), self.constant(MIDDLE, np.uint8)
        inputs = [integers, matrix, one, f"{matrix}.scale", middle]
        product = self.add("MatMulIntegerToFloat", inputs, domain=RUNTIME_OPERATORS)
        return self.add("Mul", [product, scale])

    def _quantised(self, rows: str) -> tuple[str, str]:
        """The rows as bytes, 128 for zero, and their scales as a column. Done once for the same rows."""
        if rows not in self._done:
            last = self.constant([-1], np.int64)
            others = self.constant([0, 2], np.int64)
            largest = self.add("ReduceMax", [self.add("Abs", [rows]), others], keepdims=0)
            scale = self.add("Mul", [largest, self.constant(1 / 127, np.float32)])
            scale = self.add("Add", [scale, self.constant(_TINY, np.float32)])
            middles = self.add("ConstantOfShape", [self.add("Shape", [scale])], value=_MIDDLES)
            integers = self.add("QuantizeLinear", [rows, scale, middles], axis=1)
            self._done[rows] = integers, self.add("Unsqueeze", [scale, last])
        return self._done[rows]

    def constant(self, numbers: Any, kind: Any) -> str:
        numbers = np.asarray(numbers, kind)
        name = f"constant {numbers.tolist()} {numbers.dtype}"
        if name not in self._constant_names:
            self._constant_names.add(name)
            self.constants.append(onnx.numpy_helper.from_array(numbers, name))
        return name

    def add(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        """Add an operator; returns the name of its first result."""
        outputs = outputs or [f"{kind} {len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]


def value(name: str, sizes: list[Any], kind: Any) -> Any:
    """An input or output of a graph."""
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
