"""Keys and values of one slot, in memory that the graph writes in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import OpenGraph

_FIRST_CELLS = 256


class SlotCache:
    """A slot: the tokens that it holds, shared prefix included, and what was computed for them.

    Rejected tokens are forgotten before a pass and new ones noted after it, so a pass that fails leaves the
    slot usable.
    """

    def __init__(self, graph: OpenGraph) -> None:
        self.token_ids: list[int] = []
        self._graph = graph
        self._cells = self._zeros(_FIRST_CELLS)
        self._binding = self._bound()

    def append(self, keep: int, token_ids: Sequence[int], watched: Sequence[int]) -> NDArray[np.float32]:
        """Keep so many tokens and append others; returns the hidden states of the watched ones of these.

        Shape: (watched, hidden). The next run of the graph overwrites it.
        """
        del self.token_ids[keep:]
        # ONNX Runtime multiplies a single row in another order, with other rounding, and so it does a row of
        # few positions. So others come behind the tokens, which these cannot see, and which are not kept.
        n_missing = max(2, self._graph.least_positions - keep) - len(token_ids)
        computed = [*token_ids, *[token_ids[-1]] * n_missing]
        self._reserve(keep + len(computed))
        hidden = self._graph.run(self._binding, keep, computed, watched)
        self.token_ids += token_ids
        return hidden

    def copy(self, other: SlotCache, length: int) -> None:
        """Hold the first tokens of another slot, and nothing else."""
        self.token_ids.clear()
        self._reserve(length)
        self._cells[..., :length, :] = other._cells[..., :length, :]
        self.token_ids += other.token_ids[:length]

    def _reserve(self, n_cells: int) -> None:
        """Make room, by doubling, and keep what is held."""
        if n_cells <= self._cells.shape[-2]:
            return
        old, held = self._cells, len(self.token_ids)
        self._cells = self._zeros(max(n_cells, 2 * old.shape[-2]))
        self._cells[..., :held, :] = old[..., :held, :]
        self._binding = self._bound()

    def _zeros(self, n_cells: int) -> NDArray[np.float32]:
        """Shape: (layers, keys and values, 1, heads, cells, head size)."""
        shape = self._graph.shape
        return np.zeros((shape.n_layers, 2, 1, shape.n_key_heads, n_cells, shape.head_size), np.float32)

    def _bound(self) -> Any:
        """Bindings of the graph's past and present to the same memory."""
        binding = self._graph.binding()
        for layer, of_layer in enumerate(self._cells):
            for kind, part in zip(("keys", "values"), of_layer, strict=True):
                place = ("cpu", 0, np.float32, part.shape, part.ctypes.data)
                binding.bind_input(f"past.{kind}.{layer}", *place)
                binding.bind_output(f"present.{kind}.{layer}", *place)
        return binding
