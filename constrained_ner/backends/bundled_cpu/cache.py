"""Keys and values of one slot, in memory that the graph writes in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Graph

_FIRST_CELLS = 256


class SlotCache:
    """A slot: the tokens that it holds, and what was computed for them.

    token_ids: the shared prefix included. It says less than the memory holds while a pass runs, so a pass
    that fails leaves the slot usable.
    """

    def __init__(self, graph: Graph) -> None:
        self.token_ids: list[int] = []
        self._graph = graph
        self._cells = self._zeros(_FIRST_CELLS)
        self._bind()

    def append(self, keep: int, token_ids: Sequence[int], watched: Sequence[int]) -> NDArray[np.float32]:
        """Keep so many tokens, then append others; the hidden states of the watched ones of these.

        Shape: (watched, hidden). Valid until the graph runs again.
        """
        del self.token_ids[keep:]
        self._reserve(keep + len(token_ids))
        hidden = self._graph.run(self._binding, token_ids, watched, keep)
        self.token_ids += token_ids
        return hidden

    def copy(self, other: SlotCache, length: int) -> None:
        """Hold the first tokens of another slot, and no more."""
        self.token_ids.clear()
        self._reserve(length)
        self._cells[..., :length, :] = other._cells[..., :length, :]
        self.token_ids += other.token_ids[:length]

    def _reserve(self, n_cells: int) -> None:
        """Grow by doubling; what the kept tokens need is copied."""
        if n_cells <= self._cells.shape[-2]:
            return
        grown = self._zeros(max(n_cells, 2 * self._cells.shape[-2]))
        kept = len(self.token_ids)
        grown[..., :kept, :] = self._cells[..., :kept, :]
        self._cells = grown
        self._bind()

    def _zeros(self, n_cells: int) -> NDArray[np.float32]:
        """Shape: (layers, keys and values, 1, heads, cells, head size)."""
        shape = self._graph.shape
        return np.zeros((shape.n_layers, 2, 1, shape.n_key_heads, n_cells, shape.head_size), np.float32)

    def _bind(self) -> None:
        binding: Any = self._graph.binding()
        for layer, cells in enumerate(self._cells):
            for kind, part in zip(("keys", "values"), cells, strict=True):
                about = "cpu", 0, np.float32, part.shape, part.ctypes.data
                binding.bind_input(f"past.{kind}.{layer}", *about)
                binding.bind_output(f"present.{kind}.{layer}", *about)
        self._binding = binding
