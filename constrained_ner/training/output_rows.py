"""The output layer, asked for no more than a loss needs: a few rows here, the whole vocabulary there.

A model in training computes (tokens x vocabulary) logits as a rule: for 8 sentences of 500 tokens and Llama
3's 128,256 tokens that is 2 GB in float32, several times over. Here the layer itself is made to answer only
what is asked, from the hidden states that reach it. What the model does with its logits afterwards (soft caps
of Gemma 2, scales of Granite and Cohere) is element by element, so it is applied to these as to all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..errors import ModelError
from .losses import gathered_scores, masked


@dataclass(frozen=True)
class Question:
    """Where which logits are wanted. Places are indices into the flattened (sequences x columns) grid.

    few_at, few: (n,) places, and (n, most) ids wanted there, the right one first, -1 beyond them.
    whole_at, whole: (m,) places where the whole vocabulary is wanted, and the right ids there.
    """

    few_at: Tensor
    few: Tensor
    whole_at: Tensor
    whole: Tensor

    @property
    def n_choices(self) -> int:
        return len(self.few_at) + len(self.whole_at)


def cross_entropies(model: Any, head: Any, input_ids: Tensor, question: Question) -> Tensor:
    """The cross-entropy in nats of every choice of the question, in one forward pass of the model.

    model: anything that ends in `head`, wrapped or not. Shape: (n + m,), float32.
    Raises ModelError where the model does not take its logits from its output layer alone.
    """
    with _asked(head, question):
        numbers = model(input_ids=input_ids, use_cache=False).logits.flatten().float()
    n_few = question.few.numel()
    n_tokens = head.weight.shape[0]
    if len(numbers) != n_few + len(question.whole_at) * n_tokens:
        raise ModelError("the model does not use its output layer as a module: this loss cannot be computed")
    few = masked(numbers[:n_few].view_as(question.few), question.few)
    whole = numbers[n_few:].view(-1, n_tokens)
    return torch.cat(
        [
            -functional.log_softmax(few, dim=-1)[:, 0],
            functional.cross_entropy(whole, question.whole, reduction="none"),
        ]
    )


def check_output_layer(head: Any, name: str) -> None:
    """Refuse an output layer whose rows alone do not make its logits: ModelError. name: the model's."""
    if hasattr(head, "base_layer"):
        raise ModelError(f"{name}: the output layer has an adapter of its own: leave it out of --targets")
    if not head.weight.is_floating_point():
        raise ModelError(f"{name}: the output layer is quantised, so its rows cannot be gathered")


@contextmanager
def _asked(head: Any, question: Question) -> Iterator[None]:
    """Within this context the output layer answers the question, in a row: the few first, then the whole."""
    compute, own = head.forward, vars(head).get("forward")  # an object's own: accelerate sets one at times
    rows, bias = head.weight, getattr(head, "bias", None)

    def answer(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        states = hidden.flatten(0, 1)
        # In float32, whatever the model's precision: these are few.
        with torch.autocast(states.device.type, enabled=False):
            few = gathered_scores(states[question.few_at].float(), rows, question.few)
            if bias is not None:
                few = few + bias[question.few.clamp(min=0)].float()
        whole = compute(states[question.whole_at])
        return torch.cat([few.flatten(), whole.float().flatten()]).view(1, 1, -1)

    head.forward = answer
    try:
        yield
    finally:
        del head.forward
        if own is not None:
            head.forward = own
