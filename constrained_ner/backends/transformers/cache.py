"""A key-value cache made of cells: sequences share one pool, truncation is free, the prefix is stored once.

A DynamicCache of transformers appends the same columns to every row. Sequences that accept different numbers
of tokens would fill it with holes, and sliding windows, which count columns, would see too little. Here a
token's keys and values are stored in a cell of a pool, and every pass gathers the cells of each sequence into
a row without holes, aligned to the right:

    row 0:   .  .  p0 p1 a0 a1 a2 [a3 a4]      . : masked column
    row 1:   p0 p1 b0 b1 b2 b3 b4 [ . b5]      [ ]: the queries; a shorter row's first queries are padding

Two columns are then as far apart as their positions are, and masks (causal, sliding, chunked) depend on
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import cache_utils
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer
from transformers.cache_utils import DynamicSlidingWindowLayer as SlidingLayer

DummyLayer: Any = getattr(cache_utils, "DummyLayer", type(None))  # transformers has it since 5.23

_GROWTH = 256


class Cells:
    """Which cell holds which token. Sequence 0 is the shared prefix; the others continue it."""

    def __init__(self, n_sequences: int) -> None:
        self.capacity = 0
        self._free: list[int] = []
        self._held: list[NDArray[np.int64]] = [_NO_CELLS] * (n_sequences + 1)

    def truncate(self, sequence: int, length: int) -> None:
        """Free the sequence's cells from `length` on, counted without the prefix."""
        held = self._held[sequence]
        self._free.extend(held[length:].tolist())
        self._held[sequence] = held[:length]

    def extend(self, sequence: int, n_tokens: int) -> NDArray[np.int64]:
        """Cells for the sequence's next tokens."""
        missing = n_tokens - len(self._free)
        if missing > 0:
            grown = self.capacity + max(missing, self.capacity // 2, _GROWTH)
            self._free[:0] = range(grown - 1, self.capacity - 1, -1)
            self.capacity = grown
        taken = np.array([self._free.pop() for _ in range(n_tokens)], dtype=np.int64)
        self._held[sequence] = np.concatenate([self._held[sequence], taken])
        return taken

    def row(self, sequence: int) -> NDArray[np.int64]:
        """The cells that the sequence attends to: the prefix's, then its own."""
        if sequence == 0:
            return self._held[0]
        return np.concatenate([self._held[0], self._held[sequence]])


_NO_CELLS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass: rows x queries new tokens, some of them padding, over `width` columns.

    write: cells of the new tokens, shape (tokens,).
    queries: their places among rows x queries, same shape.
    read: cells of every row's columns, shape (rows * width,); a masked column reads an arbitrary cell.
    capacity: how many cells the pool must have.
    """

    n_rows: int
    n_queries: int
    width: int
    write: torch.Tensor
    queries: torch.Tensor
    read: torch.Tensor
    capacity: int


class CellLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """Keys and values of one attention layer, shape (capacity, heads, head size). Set `plan` first."""

    def __init__(self, *, is_sliding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_sliding = is_sliding
        self.plan: Plan | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (
            states.new_zeros((0, states.shape[1], states.shape[3])) for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shapes: (rows, heads, queries, head size) in, (rows, heads, width, head size) out."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.plan is None or self.keys is None or self.values is None:
            raise RuntimeError("a pass without a plan")
        self.keys, keys = _exchange(self.keys, key_states, self.plan)
        self.values, values = _exchange(self.values, value_states, self.plan)
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns before the pass's queries."""
        return 0 if self.plan is None else self.plan.width - self.plan.n_queries

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # the name of older versions, 5.12 among them


def _exchange(pool: torch.Tensor, states: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Write the new states into the pool, growing it if needed; then read the columns of every row."""
    missing = plan.capacity - pool.shape[0]
    if missing > 0:
        pool = torch.cat([pool, pool.new_zeros((missing, *pool.shape[1:]))])
    new = states.transpose(1, 2).flatten(0, 1).index_select(0, plan.queries.to(states.device))
    pool.index_copy_(0, plan.write.to(pool.device), new)
    rows = pool.index_select(0, plan.read.to(pool.device))
    return pool, rows.reshape(plan.n_rows, plan.width, *rows.shape[1:]).transpose(1, 2)


def cell_cache(config: Any) -> Cache:
    """An empty cache for the model. Raises ValueError if a layer keeps more than keys and values."""
    layers: list[Any] = []
    for layer in DynamicCache(config=config).layers:
        if type(layer) not in (DynamicLayer, SlidingLayer, DummyLayer):
            raise ValueError(f"its layers of kind {type(layer).__name__} cannot take back tokens")
        layers.append(
            layer if type(layer) is DummyLayer else CellLayer(is_sliding=type(layer) is SlidingLayer)
        )
    return Cache(layers=layers)


def set_plan(cache: Cache, plan: Plan) -> None:
    for layer in cache.layers:
        if isinstance(layer, CellLayer):
            layer.plan = plan


def make_plan(
    cells: Cells, sequences: Sequence[int], lengths: Sequence[int], device: torch.device
) -> tuple[Plan, NDArray[np.bool_]]:
    """Allocate cells for `lengths[i]` new tokens of `sequences[i]`; the plan, and which columns are unmasked.

    Shape of the mask: (rows, width).
    """
    n_rows, n_queries = len(sequences), max(lengths)
    written = [cells.extend(sequence, length) for sequence, length in zip(sequences, lengths, strict=True)]
    rows = [cells.row(sequence) for sequence in sequences]
    width = max(n_queries, *(len(row) for row in rows))
    read = np.zeros((n_rows, width), dtype=np.int64)
    mask = np.zeros((n_rows, width), dtype=np.bool_)
    for number, row in enumerate(rows):
        read[number, width - len(row) :] = row
        mask[number, width - len(row) :] = True
    queries = [
        np.arange((number + 1) * n_queries - length, (number + 1) * n_queries)
        for number, length in enumerate(lengths)
    ]
    plan = Plan(
        n_rows=n_rows,
        n_queries=n_queries,
        width=width,
        write=torch.from_numpy(np.concatenate(written)).to(device),
        queries=torch.from_numpy(np.concatenate(queries)).to(device),
        read=torch.from_numpy(read.ravel()).to(device),
        capacity=cells.capacity,
    )
    return plan, mask
