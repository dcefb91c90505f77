"""What training minimises. A new loss belongs here.

Two ways of training use two ways of computing the same idea:

The bundled model is trained from scratch by `batch_losses`: the loss over the legal tokens at every decision,
which teaches exactly the choices that constrained decoding asks for, from a few rows of the output layer. On
its own it never teaches the model to look up its place in the prompt, and so at the words to the right.
Copying and the prompt are therefore predicted, too, over the whole vocabulary or that of the batch.

An adapter is trained by one of the losses of `LOSSES`. Each names its choices as a `Question`, and
`output_rows` computes the cross-entropy of these choices for any model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from .batches import Batch, Ids

# ---- adapters: which choices count

Loss = Literal["legal", "completion"]


@dataclass(frozen=True)
class Question:
    """The choices that a loss asks for. Places are indices into the flattened (sequences x columns) grid.

    few_at, few: (n,) places, and (n, most) ids to choose from there, the written one first, -1 as padding.
    few_outcomes, few_expected: as `few`, what is expected of them (see `batches.Batch`).
    whole_at, whole: (m,) places where the whole vocabulary is to choose from, and the right ids there.
    """

    few_at: Tensor
    few: Tensor
    few_outcomes: Tensor
    few_expected: Tensor
    whole_at: Tensor
    whole: Tensor

    @classmethod
    def among(cls, tensors: Mapping[str, Tensor]) -> Question:
        """Take the question's tensors, by name, from those of a batch."""
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})

    @property
    def n_choices(self) -> int:
        return len(self.few_at) + len(self.whole_at)


def legal_question(batch: Batch) -> Question:
    """Ask for every decision over its legal tokens, and for the end token over the whole vocabulary.

    The end token teaches the model to stop by itself. Positions with one legal token are no choices.
    """
    return _question(batch, slice(None), batch.ends)


def completion_question(batch: Batch) -> Question:
    """Ask for every token of the answer over the whole vocabulary."""
    return _question(batch, slice(0), batch.answer)


LOSSES: dict[Loss, Callable[[Batch], Question]] = {
    "legal": legal_question,
    "completion": completion_question,
}
"""Name of a loss -> the choices that it asks for."""


def _question(batch: Batch, few: slice, whole_at: Ids) -> Question:
    decided = (batch.decisions[few], batch.legal[few], batch.outcomes[few], batch.expected[few])
    return Question(*map(torch.from_numpy, (*decided, whole_at, batch.next_ids[whole_at])))


# ---- the bundled model: three losses at once


@dataclass(frozen=True)
class Weights:
    """Weights of the three losses. share: share of the places at which to compute the vocabulary losses.

    of_batch: the vocabulary is only the tokens that the batch has. It costs less, and leaves the rows of all
        others as they are: what they know of rare words is not worn away.
    """

    decision: float = 1.0
    prompt: float = 0.5
    answer: float = 0.5
    share: float = 0.5
    of_batch: bool = False


@dataclass(frozen=True)
class Losses:
    """The three means in nats, zero if a batch has no such place."""

    decision: Tensor
    prompt: Tensor
    answer: Tensor

    def total(self, weights: Weights) -> Tensor:
        return weights.decision * self.decision + weights.prompt * self.prompt + weights.answer * self.answer


def batch_losses(model: Any, batch: Batch, weights: Weights, rng: np.random.Generator) -> Losses:
    """Compute all three losses in one forward pass."""
    rows: Tensor = model.lm_head.weight
    device = rows.device
    ids = on(device, batch.ids)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
    wanted, known = batch.next_ids, rows
    if weights.of_batch:
        present, wanted = np.unique(wanted, return_inverse=True)
        known = rows[on(device, present)]
    next_ids = on(device, wanted)

    def over_vocabulary(places: Ids, share: float) -> Tensor:
        kept = places[rng.random(len(places)) < share] if share < 1 else places
        if not len(kept):
            return rows.new_zeros(())
        at = on(device, kept)
        return functional.cross_entropy((hidden[at] @ known.T).float(), next_ids[at])

    return Losses(
        decision=legal_set_loss(hidden, rows, batch),
        prompt=over_vocabulary(batch.prompt, weights.share if weights.prompt else 0.0),
        answer=over_vocabulary(batch.answer, weights.share),
    )


def legal_set_loss(hidden: Tensor, rows: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy with the expected outcomes of the decisions; their legal tokens are all there is.

    Where several tokens share an outcome, only the sum of their probabilities counts.
    Shape: hidden (places, n_hidden), rows (n_tokens, n_hidden). No array of vocabulary size is built.
    """
    if not len(batch.decisions):
        return rows.new_zeros(())
    outcomes, expected = (on(rows.device, of) for of in (batch.outcomes, batch.expected))
    return outcome_cross_entropy(legal_scores(hidden, rows, batch), outcomes, expected).mean()


def legal_scores(hidden: Tensor, rows: Tensor, batch: Batch) -> Tensor:
    """Logits of the legal tokens at the decisions, padded with minus infinity. Shape: as `batch.legal`."""
    legal, at = on(rows.device, batch.legal), on(rows.device, batch.decisions)
    return masked(gathered_scores(hidden[at], rows, legal).float(), legal)


# ---- shared


def on(device: torch.device, array: NDArray[Any]) -> Tensor:
    """The array as a tensor there. On a GPU, nothing waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


UNLIKELY = -1e4
"""A log probability that is as good as none, and has a gradient."""


def gathered_scores(hidden: Tensor, rows: Tensor, legal: Tensor) -> Tensor:
    """Logits of a few tokens per place, from their rows of the output layer; arbitrary where `legal` is -1.

    Shape: hidden (n, n_hidden), rows (n_tokens, n_hidden), legal (n, most) -> (n, most).
    """
    few = functional.embedding(legal.clamp(min=0), rows)  # some rows are asked for thousands of times
    return torch.einsum("nh,nkh->nk", hidden, few.to(hidden.dtype))


def outcome_cross_entropy(scores: Tensor, outcomes: Tensor, expected: Tensor) -> Tensor:
    """The cross-entropy of each row with the outcomes that are expected of it (see `batches.Decision`).

    Where several tokens share an outcome, the sum of their probabilities counts. Where one outcome is certain
    and has one token, this is the usual cross-entropy.
    Shape: scores, outcomes, expected (n, most) -> (n,).
    """
    log_p = functional.log_softmax(scores, dim=-1)
    numbers = torch.arange(expected.shape[1], device=scores.device)
    among = outcomes[:, None, :] == numbers[None, :, None]  # (n, outcomes, tokens)
    of_outcome = log_p[:, None, :].masked_fill(~among, UNLIKELY).logsumexp(-1)
    return -(expected * of_outcome).sum(-1)


def masked(scores: Tensor, legal: Tensor) -> Tensor:
    """Put minus infinity where there is no token."""
    return scores.masked_fill(legal < 0, float("-inf"))
