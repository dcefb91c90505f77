"""The weights of a decoder by the names that its network has for them, made one by one from the GGUF.

In int8 a matrix is stored as integers of 7 bits with a scale for each output (see `bundled_cpu/weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundled_cpu.model_files import Precision
from ..bundled_cpu.weights import quantised
from ..gguf_file import GgufFile
from .decoder_shape import DecoderShape
from .lora import Lora


def weights_of(
    file: GgufFile, shape: DecoderShape, precision: Precision, lora: Lora | None = None
) -> dict[str, NDArray[Any]]:
    """All weights but those of the tokens. Matrices have the shape (inputs, outputs).

    lora: what is added to the weights first.
    """
    made: dict[str, NDArray[Any]] = {"norm": file.tensor("output_norm.weight")}
    for layer in range(shape.n_layers):
        made |= _norms(file, shape, layer)
        for name, matrix in _matrices(file, layer, lora):
            if precision == "float32":
                made[name] = np.ascontiguousarray(matrix.T)
            else:
                made[name], made[f"{name}.scale"] = quantised(matrix)
    return made


def _norms(file: GgufFile, shape: DecoderShape, layer: int) -> dict[str, NDArray[np.float32]]:
    """They are not multiplied into the matrices, as the bundled model's are: those of Gemma 3 make what comes
    of outliers small again, and without them its rows cannot be rounded to 8 bits.
    """
    names = ["attn_norm", "ffn_norm"]
    if shape.family.head_norms:
        names += ["attn_q_norm", "attn_k_norm"]
    if shape.family.post_norms:
        names += ["post_attention_norm", "post_ffw_norm"]
    return {f"{layer}.{name}": file.tensor(f"blk.{layer}.{name}.weight") for name in names}


def _matrices(file: GgufFile, layer: int, lora: Lora | None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and matrix (outputs, inputs) of everything that a layer multiplies by."""

    def part(name: str) -> NDArray[np.float32]:
        tensor = f"blk.{layer}.{name}.weight"
        weight = file.tensor(tensor)
        return weight if lora is None else lora.added(tensor, weight)

    attending = np.concatenate([part("attn_q"), part("attn_k"), part("attn_v")])
    yield f"{layer}.attend", attending
    yield f"{layer}.attended", part("attn_output")
    yield f"{layer}.gate", part("ffn_gate")
    yield f"{layer}.up", part("ffn_up")
    yield f"{layer}.down", part("ffn_down")
