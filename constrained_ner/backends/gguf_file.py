"""A GGUF file read with nothing but numpy: its metadata, and its tensors in float32.

For what must be known without llama.cpp. Format: docs/gguf.md of the project ggml.
"""

from __future__ import annotations

import mmap
import re
import struct
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import file_hash, require_content
from .gguf_types import bytes_of_row, unpacked
from .temperature import TEMPERATURE_KEY, checked_temperature

GGUF_MAGIC = b"GGUF"
ADAPTER_KEY = "constrained_ner.adapter"
"""Metadata: what an adapter was trained for (JSON), in its own file or in that of the merged model."""
BASE_KEY = "constrained_ner.base_model"
"""Metadata: which model of transformers the file was made from (JSON); a LoRA is checked against it."""

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type of a metadata value -> its code in `struct`."""
_STRING, _ARRAY = 8, 9


class GgufFile:
    """An open GGUF file.

    metadata: key -> number, text, or a list of either. Raises ModelError, naming the path, for a file that is
    not GGUF or is cut off.
    """

    def __init__(self, path: str | Path, *, weights: bool = True) -> None:
        self.path = Path(path)
        check_gguf(self.path, weights=weights)
        with self.path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = _Reader(self._data)
        try:
            n_tensors, n_keys = reader.number("Q"), reader.number("Q")
            self.metadata: dict[str, Any] = dict(reader.entry() for _ in range(n_keys))
            self._tensors = dict(reader.tensor() for _ in range(n_tensors))
        except (struct.error, KeyError, ValueError, OverflowError, MemoryError):
            raise ModelError(f"{self.path}: the GGUF file is cut off or damaged") from None
        alignment = int(self.metadata.get("general.alignment", 32))
        self._start = reader.at + -reader.at % alignment

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return file_hash(self.path)

    @property
    def tensor_names(self) -> frozenset[str]:
        return frozenset(self._tensors)

    @property
    def temperature(self) -> float | None:
        """The one stored in the metadata, None without it (see `temperature.py`)."""
        value = self.metadata.get(TEMPERATURE_KEY)
        return None if value is None else checked_temperature(value, self.path)

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """Example: of_architecture("block_count") -> the value of `llama.block_count`."""
        return self.metadata.get(f"{self.metadata.get('general.architecture')}.{key}", default)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Rows first, as in numpy. Raises ModelError for a tensor that is not there."""
        if name not in self._tensors:
            raise ModelError(f"{self.path}: the model has no tensor {name}")
        return self._tensors[name][0]

    def tensor(self, name: str, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """A tensor, or some rows of a matrix, as a copy in float32.

        Raises MissingExtraError if its type needs the package gguf, ModelError if nothing can read it.
        """
        shape = self.shape_of(name)
        _, kind, offset = self._tensors[name]
        try:
            n_rows, n_bytes = int(np.prod(shape[:-1])), bytes_of_row(kind, shape[-1])
            packed = np.frombuffer(self._data, np.uint8, n_rows * n_bytes, self._start + offset)
            packed = packed.reshape(n_rows, n_bytes)
            if rows is not None:
                return unpacked(packed[rows], kind)
            return unpacked(packed, kind).reshape(shape)
        except ValueError:
            raise ModelError(f"{self.path}: the GGUF file is cut off or damaged: {name}") from None
        except ModelError as error:
            raise ModelError(f"{self.path}: {name} cannot be read: {error}") from None


class _Reader:
    """Reads one value after the other. Raises struct.error at the end of the data."""

    def __init__(self, data: mmap.mmap) -> None:
        self.at = 8  # after magic and version
        self._data = data

    def number(self, code: str) -> Any:
        value = struct.unpack_from("<" + code, self._data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        return self._texts(1)[0]

    def _texts(self, n_texts: int) -> list[str]:
        """Texts one after the other: a vocabulary is most of the time that a small file takes."""
        data, at, n_data, length_at = self._data, self.at, len(self._data), struct.Struct("<Q").unpack_from
        found = []
        for _ in range(n_texts):
            (n_bytes,) = length_at(data, at)
            at += 8
            if n_bytes > n_data - at:
                raise struct.error
            found.append(data[at : at + n_bytes].decode(errors="replace"))
            at += n_bytes
        self.at = at
        return found

    def entry(self) -> tuple[str, Any]:
        return self.text(), self._value(self.number("I"))

    def tensor(self) -> tuple[str, tuple[tuple[int, ...], int, int]]:
        """Name, then shape (rows first, as in numpy), type and offset."""
        name, n_axes = self.text(), self.number("I")
        shape = tuple(self.number("Q") for _ in range(n_axes))[::-1]
        return name, (shape, self.number("I"), self.number("Q"))

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_NUMBERS[kind])
        kind, n_values = self.number("I"), self.number("Q")
        if kind == _STRING:
            return self._texts(n_values)
        if kind == _ARRAY:
            return [self._value(kind) for _ in range(n_values)]
        values = np.frombuffer(self._data, np.dtype(_NUMBERS[kind]).newbyteorder("<"), n_values, self.at)
        self.at += values.nbytes
        return values.tolist()


def parts_of(path: Path) -> tuple[Path, ...]:
    """The files of a model, which gguf-split may have cut up: NAME-00001-of-00003.gguf and so on.

    Raises ModelError unless the first is named and all are there.
    """
    named = _PART.fullmatch(path.name)
    if named is None:
        return (path,)
    stem, number, count = named[1], int(named[2]), int(named[3])
    parts = tuple(path.with_name(f"{stem}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1))
    if number != 1 and parts and parts[0].exists():
        raise ModelError(f"{path}: part {number} of {count} of a model; name the first, {parts[0]}")
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise ModelError(f"{path}: the model is in {count} files, and {', '.join(missing)} is not there")
    return parts


def is_gguf_file(path: Path) -> bool:
    """Whether the path is that of a file, which is GGUF by its suffix or its first bytes.

    Raises ModelError if it cannot be read.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".gguf" or file.read(4) == GGUF_MAGIC
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None


def check_gguf(path: Path, *, weights: bool) -> None:
    """Raise ModelError unless the path is a readable GGUF file, with weights in it if `weights`.

    A model in several files is checked in each; the first may hold only the metadata.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such model file")
    n_tensors = sum(_n_tensors(part) for part in parts_of(path))
    if weights and n_tensors == 0:
        raise ModelError(f"{path}: the GGUF file holds a vocabulary but no weights")


def _n_tensors(path: Path) -> int:
    """The number of tensors in one file. Raises ModelError if it is no readable GGUF file."""
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    require_content(path, ModelError)
    if header[:4] != GGUF_MAGIC:
        raise ModelError(f"{path}: not a GGUF file (it begins with {header[:4]!r})")
    if len(header) < 24:
        raise ModelError(f"{path}: the GGUF file is cut off ({len(header)} bytes)")
    return int(struct.unpack_from("<Q", header, 8)[0])
