"""What training minimises: decisions over the legal tokens, and the text itself over the whole vocabulary.

The loss over the legal set teaches exactly the choices that constrained decoding asks for, from a few
gathered rows of the output layer. Alone it never teaches the model to look at its place in the prompt, and so
at the words to the right: copying and the prompt are therefore predicted over the whole vocabulary too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from .batches import Batch, Ids


@dataclass(frozen=True)
class Weights:
    """Weights of the three losses; share: part of the places that the vocabulary losses are computed at."""

    decision: float = 1.0
    prompt: float = 0.5
    answer: float = 0.5
    share: float = 0.5


@dataclass(frozen=True)
class Losses:
    """The three means in nats, zero where a batch has no such place."""

    decision: Tensor
    prompt: Tensor
    answer: Tensor

    def total(self, weights: Weights) -> Tensor:
        return weights.decision * self.decision + weights.prompt * self.prompt + weights.answer * self.answer


def batch_losses(model: Any, batch: Batch, weights: Weights, rng: np.random.Generator) -> Losses:
    """One forward pass, three losses."""
    rows: Tensor = model.lm_head.weight
    device = rows.device
    ids = torch.from_numpy(batch.ids).to(device)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
    next_ids = torch.from_numpy(batch.next_ids).to(device)

    def over_vocabulary(places: Ids, share: float) -> Tensor:
        kept = places[rng.random(len(places)) < share] if share < 1 else places
        if not len(kept):
            return rows.new_zeros(())
        at = torch.from_numpy(kept).to(device)
        return functional.cross_entropy((hidden[at] @ rows.T).float(), next_ids[at])

    return Losses(
        decision=legal_set_loss(hidden, rows, batch),
        prompt=over_vocabulary(batch.prompt, weights.share if weights.prompt else 0.0),
        answer=over_vocabulary(batch.answer, weights.share),
    )


def legal_set_loss(hidden: Tensor, rows: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy over the legal tokens at the decisions.

    Shape: hidden (places, n_hidden), rows (n_tokens, n_hidden). No array of vocabulary size is built.
    """
    if not len(batch.decisions):
        return rows.new_zeros(())
    return -functional.log_softmax(legal_scores(hidden, rows, batch), dim=-1)[:, 0].mean()


def legal_scores(hidden: Tensor, rows: Tensor, batch: Batch) -> Tensor:
    """Logits of the legal tokens at the decisions, minus infinity beyond them. Shape: as `batch.legal`."""
    legal = torch.from_numpy(batch.legal).to(rows.device)
    at = torch.from_numpy(batch.decisions).to(rows.device)
    return masked(gathered_scores(hidden[at], rows, legal).float(), legal)


def gathered_scores(hidden: Tensor, rows: Tensor, legal: Tensor) -> Tensor:
    """Logits of a few tokens each from their rows of the output layer; anything where `legal` is negative.

    Shape: hidden (n, n_hidden), rows (n_tokens, n_hidden), legal (n, most) -> (n, most).
    """
    return torch.einsum("nh,nkh->nk", hidden, rows[legal.clamp(min=0)].to(hidden.dtype))


def masked(scores: Tensor, legal: Tensor) -> Tensor:
    """The scores, minus infinity where there is no token."""
    return scores.masked_fill(legal < 0, float("-inf"))
