"""The types of numbers in a GGUF file: how they are packed, and what they mean.

F32, F16 and Q8_0 are unpacked here, the others by the package gguf.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, ModelError

_F32, _F16, _Q8_0 = 0, 1, 8
_BLOCKS = {_F32: (1, 4), _F16: (1, 2), _Q8_0: (32, 34)}
"""Type -> numbers and bytes of a block."""


def bytes_of_row(kind: int, n_numbers: int) -> int:
    """Bytes that a row of so many numbers takes. Raises ModelError for a type that is not known."""
    n_block, n_bytes = _BLOCKS.get(kind) or _block_of(kind)
    if n_numbers % n_block:
        raise ModelError(f"a row of {n_numbers} numbers in blocks of {n_block}")
    return n_numbers // n_block * n_bytes


def unpacked(rows: NDArray[np.uint8], kind: int) -> NDArray[np.float32]:
    """Rows of bytes as rows of numbers: a copy."""
    if kind == _F32:
        return rows.view("<f4").astype(np.float32)
    if kind == _F16:
        return rows.view("<f2").astype(np.float32)
    if kind == _Q8_0:
        blocks = rows.reshape(-1, 34)
        numbers = blocks[:, 2:].view("i1") * blocks[:, :2].view("<f2").astype(np.float32)
        return numbers.reshape(len(rows), -1)
    gguf = _gguf()
    try:
        found = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(kind))
    except NotImplementedError as error:
        raise ModelError(str(error)) from None
    return np.asarray(found, np.float32)


def _block_of(kind: int) -> tuple[int, int]:
    gguf = _gguf()
    try:
        sizes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise ModelError(f"numbers of the unknown type {kind}") from None
    return int(sizes[0]), int(sizes[1])


def _gguf() -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError:
        raise MissingExtraError("gguf", "onnx") from None
    return gguf
