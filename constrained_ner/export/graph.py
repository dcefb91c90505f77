"""Writes the graph that ONNX Runtime computes for a small Llama (`backends/bundled_cpu`).

One sequence a run, about ten operators a layer. The graph holds no weights: it declares them, and the back
end makes them from the GGUF (`bundled_cpu/weights.py`). In its metadata is the SHA-256 of that GGUF.

    token_ids --embeddings--> rows -> layers -> watched rows --norm--> hidden
    keys and values of each layer, in and out: one buffer, written in place at the new positions
    cosines and sines of all positions, by which queries and keys are rotated

In int8 each row of activations is quantised with its own scale, so that no row depends on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..backends.bundled_cpu.model_files import GGUF_KEY, MIDDLE, Precision, graph_path
from ..backends.bundled_cpu.weights import LlamaShape, weights_of
from ..backends.gguf_file import GgufFile
from ..errors import MissingExtraError
from .gguf import written_whole

try:
    import onnx
    from onnx import TensorProto, helper
except ImportError:
    raise MissingExtraError("onnx", "train") from None

_OPERATORS, _RUNTIME_OPERATORS = 21, "com.microsoft"
_FORMAT = 10  # of the file; onnxruntime 1.18 reads it
_TINY = 1e-30  # a row of zeros has a scale, too
_MIDDLES = onnx.numpy_helper.from_array(np.array([MIDDLE], np.uint8))  # what quantised rows have for zero


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


class _Graph:
    """A graph in the making: operators are added in the order in which they run."""

    def __init__(self, shape: LlamaShape, weights: Mapping[str, NDArray[Any]]) -> None:
        self.shape = shape
        self.weights = weights
        self.nodes: list[Any] = []
        self._done: dict[str, tuple[str, str]] = {}  # rows -> quantised
        self.constants = [_declared(name, numbers) for name, numbers in weights.items()]
        self._build()

    def finished(self, sha256: str) -> Any:
        """The model as a file holds it. sha256: of the GGUF."""
        graph = helper.make_graph(self.nodes, "llama", self._inputs(), self._outputs(), self.constants)
        operators = [helper.make_opsetid("", _OPERATORS), helper.make_opsetid(_RUNTIME_OPERATORS, 1)]
        model = helper.make_model(
            graph, opset_imports=operators, ir_version=_FORMAT, producer_name="constrained-ner"
        )
        helper.set_model_props(model, {GGUF_KEY: sha256})
        return model

    def _inputs(self) -> list[Any]:
        rotations = ["positions", self.shape.head_size // 2]
        return [
            _value("token_ids", [1, "tokens"], np.int64),
            _value("watched", ["rows"], np.int64),
            _value("last_position", [1], np.int32),
            _value("n_positions", [], np.int32),
            _value("cosines", rotations, np.float32),
            _value("sines", rotations, np.float32),
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
        self._add("Gather", ["embeddings", "token_ids"], ["rows"])
        rows, added = "rows", None
        for layer in range(self.shape.n_layers):
            rows, added = self._layer(layer, rows, added)
        assert added is not None, "a model has layers"
        self._normalised(rows, added, "norm", "hidden")

    def _layer(self, layer: int, rows: str, added: str | None) -> tuple[str, str]:
        """Add a layer. rows, added: what comes in is their sum. Returns the same of what goes out."""
        at = f"{layer}."
        normalised, rows = self._normalised(rows, added, "ones", f"{at}normalised")
        attended = self._attention(layer, self._product(normalised, f"{at}attend"))
        if layer == self.shape.n_layers - 1:  # what follows is done for watched rows only
            attended = self._add("Gather", [attended, "watched"], axis=1)
            rows = self._add("Gather", [rows, "watched"], axis=1)
        change = self._product(attended, f"{at}attended")
        normalised, rows = self._normalised(rows, change, "ones", f"{at}normalised again")
        gate, up = self._product(normalised, f"{at}gate"), self._product(normalised, f"{at}up")
        gated = self._add("QuickGelu", [gate], alpha=1.0, domain=_RUNTIME_OPERATORS)
        return rows, self._product(self._add("Mul", [gated, up]), f"{at}down")

    def _normalised(self, rows: str, added: str | None, weight: str, name: str) -> tuple[str, str]:
        """The sum of both, normalised, and the sum itself."""
        if added is None:
            self._add(
                "SimplifiedLayerNormalization", [rows, weight], [name], axis=-1, epsilon=self.shape.epsilon
            )
            return name, rows
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
        inputs += [f"past.keys.{layer}", f"past.values.{layer}", "last_position", "n_positions"]
        outputs = [f"{layer}.attention", f"present.keys.{layer}", f"present.values.{layer}"]
        self._add(
            "GroupQueryAttention",
            [*inputs, "cosines", "sines"],
            outputs,
            domain=_RUNTIME_OPERATORS,
            num_heads=shape.n_heads,
            kv_num_heads=shape.n_key_heads,
            do_rotary=1,
            rotary_interleaved=1,  # neighbours are a pair, as in the GGUF
        )
        return outputs[0]

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
            last = self._constant(-1, np.int64)
            others = self._constant((0, 2), np.int64)
            largest = self._add("ReduceMax", [self._add("Abs", [rows]), others], keepdims=0)
            scale = self._add("Mul", [largest, self._constant(1 / 127, np.float32)])
            scale = self._add("Add", [scale, self._constant(_TINY, np.float32)])
            middles = self._add("ConstantOfShape", [self._add("Shape", [scale])], value=_MIDDLES)
            integers = self._add("QuantizeLinear", [rows, scale, middles], axis=1)
            self._done[rows] = integers, self._add("Unsqueeze", [scale, last])
        return self._done[rows]

    def _constant(self, value: Any, kind: Any) -> str:
        numbers = np.asarray(value, kind)
        if kind is np.int64:
            numbers = np.atleast_1d(numbers)
        name = f"constant {numbers.tolist()} {numbers.dtype}"
        if name not in {constant.name for constant in self.constants}:
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
