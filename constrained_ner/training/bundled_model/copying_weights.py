"""First weights that already copy: an induction circuit, written by hand into the first two layers.

A small model needs a million tokens to find out how to copy, and until then looks nowhere but to its left.
The circuit is known (Olsson et al. 2022, "In-context Learning and Induction Heads"), so it is put there:

layer 0   heads that look one token back write what they see into directions of their own ("there").
layer 1   heads that look where "there" equals the token at hand: right behind its earlier occurrence. They
          write the token that stands there, so that the model's output is the next token of the copy.

All rows of the embeddings get one direction in common, by which the first heads find their place: rotated by
its position, it is most like the one a step back. The heads of layer 1 compare in the slowest rotations,
which hardly change over a sentence. The other blocks start as usual, but quietly. It is all trained further.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

N_BACK = 2
"""Heads of layer 0 that look one token back. What they carry has room for this many heads' width."""

ROWS = 0.1
"""Root mean square of the embeddings: large, so that steps of the training's size change them slowly."""

COMMON = 0.3
"""Length of the direction that all rows share, relative to a row."""

CARRIED = 1.5
"""How loudly the token before is written, relative to the token itself."""

COPIED = 5.0
"""How loudly the copied token is written, relative to what is there."""

QUIET = 0.5
"""By this number what the other blocks write is multiplied."""

BACK_LOGITS, MATCH_LOGITS = 4.0, 20.0
"""Attention logits by which one token back beats its neighbours, and an equal token an unlike one."""

FAST = 10
"""Pairs of dimensions, those that rotate fastest, in which the first heads find their place."""

SLOW = 0.0045
"""Radians a token: pairs that rotate less are still alike after a hundred tokens."""


@torch.no_grad()
def copying_weights(model: Any, seed: int = 0) -> None:
    """Rewrite a fresh LlamaForCausalLM with tied embeddings so that it copies. Rows keep their directions.

    The model needs two layers, and heads of at least 2 * FAST dimensions.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: Tensor = model.model.embed_tokens.weight
    common = _directions(rows.shape[1], 1, generator)[0]
    _arrange_rows(rows, common)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(QUIET)
        layer.self_attn.o_proj.weight.mul_(QUIET)
    circuit = _Circuit(model.config, common, generator)
    circuit.look_back(model.model.layers[0].self_attn)
    circuit.find_and_copy(model.model.layers[1].self_attn)


def _arrange_rows(rows: Tensor, common: Tensor) -> None:
    """Give all rows the same length, and the same share of the common direction."""
    own = rows - rows.mean(0)
    own = own - (own @ common)[:, None] * common
    own = own / own.norm(dim=1, keepdim=True)
    length = ROWS * rows.shape[1] ** 0.5
    rows.copy_(length * (own * (1 - COMMON**2) ** 0.5 + common * COMMON))


def _directions(width: int, n: int, generator: torch.Generator, besides: Tensor | None = None) -> Tensor:
    """`n` orthonormal directions, orthogonal to `besides`. Shape: (n, width)."""
    given = torch.empty(width, 0) if besides is None else besides[:, None]
    random = torch.randn(width, n, generator=generator)
    orthonormal: Tensor = torch.linalg.qr(torch.cat([given, random], 1))[0]
    return orthonormal.T[given.shape[1] :]


class _Circuit:
    """The two layers' weights. `here` and `there`: directions of the token at hand, and of the one before."""

    def __init__(self, config: Any, common: Tensor, generator: torch.Generator) -> None:
        self.width: int = config.hidden_size
        self.n_heads: int = config.num_attention_heads
        self.size = self.width // self.n_heads
        self.common = common
        self.here = _directions(self.width, self.width - 1, generator, common)
        self.there = _directions(self.width, self.width - 1, generator, common)
        self.n_carried = min(N_BACK * self.size, self.width - 1)
        half = torch.arange(self.size // 2)
        self.turns = config.rope_parameters["rope_theta"] ** (
            -half / len(half)
        )  # radians a token, of each pair

    def look_back(self, attention: Any) -> None:
        """Heads that see the token before, and write it to `there`."""
        turns = self.turns[:FAST]
        beaten_by = (1 - torch.cos(turns)).sum()
        loudness = (BACK_LOGITS / beaten_by * self.size**0.5) ** 0.5 / (COMMON * self.width**0.5)
        query, key = torch.zeros(self.size), torch.zeros(self.size)
        query[: len(turns)] = loudness
        key[: len(turns)] = loudness * torch.cos(turns)  # turned by one token, as seen from the next one
        key[self.size // 2 : self.size // 2 + len(turns)] = loudness * torch.sin(turns)
        for head in range(self.n_carried // self.size):
            rows = slice(head * self.size, (head + 1) * self.size)
            attention.q_proj.weight[rows] = query[:, None] * self.common
            attention.k_proj.weight[rows] = key[:, None] * self.common
            attention.v_proj.weight[rows] = self.here[rows]
            attention.o_proj.weight[:, rows] = CARRIED * ROWS * self.there[rows].T

    def find_and_copy(self, attention: Any) -> None:
        """Heads that see the token after an equal one, and write it; each compares other properties."""
        slow = torch.arange(self.size // 2)[self.turns < SLOW]
        compared = torch.cat([slow, slow + self.size // 2])
        own = 1 - COMMON**2
        mean_square = ROWS**2 * (1 + CARRIED**2 * own * self.n_carried / self.width)
        alike = CARRIED * own * len(compared) / self.width * ROWS**2 * self.width / mean_square
        loudness = (MATCH_LOGITS * self.size**0.5 / alike) ** 0.5
        everything = torch.cat([self.here, self.common[None]])
        for head in range(self.n_heads):
            rows = slice(head * self.size, (head + 1) * self.size)
            first = head * self.n_carried // self.n_heads
            properties = (torch.arange(len(compared)) + first) % self.n_carried
            query, key = torch.zeros(self.size, self.width), torch.zeros(self.size, self.width)
            query[compared] = loudness * self.here[properties]
            key[compared] = loudness * self.there[properties]
            attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
            attention.v_proj.weight[rows] = everything[rows]
            attention.o_proj.weight[:, rows] = COPIED * mean_square**0.5 * everything[rows].T
