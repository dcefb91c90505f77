"""Tokens on their way into the cache, in batches that llama.cpp accepts."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .library import llama_cpp


@dataclass(frozen=True, slots=True)
class Row:
    """A token to compute.

    sequence: llama.cpp's number; 0 is the shared prefix.
    watch: ids whose logits are wanted after it, None to skip the position. summary: as in `protocol.Step`.
    place: where its scores belong.
    """

    token_id: int
    position: int
    sequence: int
    watch: Sequence[int] | None = None
    summary: bool = False
    place: tuple[int, int] = (0, 0)


def silent_rows(token_ids: Iterable[int], sequence: int, start: int) -> list[Row]:
    """Rows without scores, at the positions from `start` on."""
    return [Row(token_id, start + at, sequence) for at, token_id in enumerate(token_ids)]


def split_rows(rows: Sequence[Row], n_rows: int, n_watched: int) -> Iterator[Sequence[Row]]:
    """The rows in order, cut so that no part has more than n_rows of them, or n_watched watched ones."""
    start = watched = 0
    for at, row in enumerate(rows):
        watched += row.watch is not None
        if at - start == n_rows or watched > n_watched:
            yield rows[start:at]
            start, watched = at, int(row.watch is not None)
    if start < len(rows):
        yield rows[start:]


class Batch:
    """A llama_batch over numpy arrays that are allocated once, one sequence per token."""

    def __init__(self, capacity: int) -> None:
        self.token = np.zeros(capacity, dtype=np.int32)
        self.position = np.zeros(capacity, dtype=np.int32)
        self.sequence = np.zeros(capacity, dtype=np.int32)
        self.wanted = np.zeros(capacity, dtype=np.int8)
        self._ones = np.ones(capacity, dtype=np.int32)
        self._pointers = (self.sequence.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        self._struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=_pointer(self.token, ctypes.c_int32),
            pos=_pointer(self.position, ctypes.c_int32),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self.wanted, ctypes.c_int8),
        )

    def filled(self, rows: Sequence[Row]) -> Any:
        """The struct for llama_decode, valid until the next call."""
        n_rows = len(rows)
        self.token[:n_rows] = [row.token_id for row in rows]
        self.position[:n_rows] = [row.position for row in rows]
        self.sequence[:n_rows] = [row.sequence for row in rows]
        self.wanted[:n_rows] = [row.watch is not None for row in rows]
        self._struct.n_tokens = n_rows
        return self._struct


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
