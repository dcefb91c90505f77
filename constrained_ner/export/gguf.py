"""Writes a GGUF file one tensor at a time, and moves it into place when it is complete.

Memory: about three times the size of one tensor in float32, whatever the size of the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.quants import quantize
from numpy.typing import NDArray

from ..errors import ModelError, OutputError
from ..files import require_writable

Precision = Literal["f32", "f16", "bf16", "q8_0"]
"""The types that can be written directly. For smaller ones see `quantise`."""

_KINDS = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_LARGEST_F16 = 65504


@dataclass(frozen=True)
class Tensor:
    """A tensor to write. Everything but its numbers is known before they are read.

    read: returns float32 of that shape. exact: keep it in float32, whatever the precision of the file.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]
    exact: bool = False

    def kind(self, precision: Precision) -> GGMLQuantizationType:
        """Choose the type: float32 for vectors, as in llama.cpp; float16 for rows that Q8_0 cannot divide."""
        if self.exact or len(self.shape) < 2:
            return GGMLQuantizationType.F32
        wanted = _KINDS[precision][0]
        return wanted if self.shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else GGMLQuantizationType.F16

    def n_bytes(self, precision: Precision) -> int:
        block, size = GGML_QUANT_SIZES[self.kind(precision)]
        return int(np.prod(self.shape, dtype=np.int64)) // block * size


def file_type(precision: Precision) -> LlamaFileType:
    """Return the value of `general.file_type` for such a file."""
    return _KINDS[precision][1]


def write_tensors(
    writer: GGUFWriter,
    tensors: Sequence[Tensor],
    path: Path,
    precision: Precision,
    on_tensor: Callable[[int, int], None] = lambda n_done, n_total: None,
) -> None:
    """Write the file, streaming. Raises OSError; call it inside `written_whole`."""
    for tensor in tensors:
        n_bytes, kind = tensor.n_bytes(precision), tensor.kind(precision)
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), n_bytes, raw_dtype=kind)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for n_done, tensor in enumerate(tensors, 1):
            writer.write_tensor_data(_encoded(tensor, tensor.kind(precision)))
            on_tensor(n_done, len(tensors))
        writer.flush()
    finally:
        writer.close()


@contextmanager
def written_whole(path: Path, n_bytes: int) -> Iterator[Path]:
    """Give a path beside `path` to write to. It is renamed at the end, or removed if anything fails.

    n_bytes: the most that will be written. Raises OutputError if there is no room or no permission.
    """
    require_writable(path)
    free = shutil.disk_usage(path.parent).free
    if free < n_bytes:
        raise OutputError(f"{path}: needs {n_bytes / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB left")
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _encoded(tensor: Tensor, kind: GGMLQuantizationType) -> NDArray[np.generic]:
    numbers = np.ascontiguousarray(tensor.read(), dtype=np.float32)
    if numbers.shape != tensor.shape:
        raise ModelError(f"{tensor.name}: the shape is {numbers.shape}, but should be {tensor.shape}")
    largest = float(np.abs(numbers).max(initial=0))
    if not np.isfinite(largest):
        raise ModelError(f"{tensor.name}: some weights are NaN or infinite")
    if kind == GGMLQuantizationType.F16 and largest > _LARGEST_F16:
        raise ModelError(f"{tensor.name}: {largest:g} is too large for float16; choose --type bf16 or f32")
    encoded: NDArray[np.generic] = quantize(numbers, kind)
    return encoded
