"""The GGUF file: metadata and tensors, written one tensor at a time, and put in place when it is whole.

Memory: the numbers of one tensor, about three times its size in float32, whatever the size of the model.
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
"""What can be written directly; the smaller types are llama.cpp's own business (`quantise`)."""

_KINDS = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_LARGEST_F16 = 65504


@dataclass(frozen=True)
class Tensor:
    """A tensor on its way into a file: all but its numbers is known before they are read.

    read: float32 of that shape. exact: kept in float32 whatever the precision of the file.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]
    exact: bool = False

    def kind(self, precision: Precision) -> GGMLQuantizationType:
        """Vectors stay in float32, as everywhere in llama.cpp; rows that Q8_0 cannot divide in float16."""
        if self.exact or len(self.shape) < 2:
            return GGMLQuantizationType.F32
        wanted = _KINDS[precision][0]
        return wanted if self.shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else GGMLQuantizationType.F16

    def n_bytes(self, precision: Precision) -> int:
        block, size = GGML_QUANT_SIZES[self.kind(precision)]
        return int(np.prod(self.shape, dtype=np.int64)) // block * size


def file_type(precision: Precision) -> LlamaFileType:
    """What `general.file_type` says of such a file."""
    return _KINDS[precision][1]


def write_tensors(
    writer: GGUFWriter,
    tensors: Sequence[Tensor],
    path: Path,
    precision: Precision,
    on_tensor: Callable[[int, int], None] = lambda n_done, n_total: None,
) -> None:
    """Write the file, streaming. Raises OSError: call it inside `written_whole`."""
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
    """A path beside `path` to write to; renamed to it at the end, removed if anything goes wrong.

    n_bytes: what will be written at most. Raises OutputError where there is no room, or no permission.
    """
    require_writable(path)
    free = shutil.disk_usage(path.parent).free
    if free < n_bytes:
        raise OutputError(f"{path}: needs {n_bytes / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left")
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
        raise ModelError(f"{tensor.name}: is of shape {numbers.shape}, but should be {tensor.shape}")
    largest = float(np.abs(numbers).max(initial=0))
    if not np.isfinite(largest):
        raise ModelError(f"{tensor.name}: the weights are not all numbers (NaN or infinite)")
    if kind == GGMLQuantizationType.F16 and largest > _LARGEST_F16:
        raise ModelError(f"{tensor.name}: {largest:g} is too large for float16: choose --type bf16 or f32")
    encoded: NDArray[np.generic] = quantize(numbers, kind)
    return encoded
