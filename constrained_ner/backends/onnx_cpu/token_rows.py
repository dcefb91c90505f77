"""The rows of a large matrix, one for each token, unpacked when they are first used.

A vocabulary of 262,144 tokens takes 671 MB in float32, and a run uses a few thousand of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..gguf_file import GgufFile

_BLOCK = 1 << 13


class TokenRows:
    """The rows of a tensor, shape (tokens, hidden), in float32. Rows that were never used take no memory."""

    def __init__(self, file: GgufFile, name: str) -> None:
        self._file, self._name = file, name
        self._rows = np.empty(file.shape_of(name), np.float32)  # the system gives memory when it is written
        self._unpacked = np.zeros(len(self._rows), bool)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, ids: Sequence[int] | NDArray[np.intp]) -> NDArray[np.float32]:
        """Raises IndexError for an id that is no token's."""
        missing = np.unique(np.asarray(ids)[~self._unpacked[ids]])
        if len(missing):
            self._rows[missing] = self._file.tensor(self._name, missing)
            self._unpacked[missing] = True
        rows: NDArray[np.float32] = self._rows[ids]
        return rows

    def products(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every row with every hidden state: shape (hidden states, tokens)."""
        blocks = [hidden @ self._file.tensor(self._name, ids).T for ids in self._blocks()]
        return np.concatenate(blocks, axis=1)

    def _blocks(self) -> Iterator[NDArray[np.intp]]:
        for start in range(0, len(self), _BLOCK):
            yield np.arange(start, min(start + _BLOCK, len(self)))
