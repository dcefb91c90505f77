"""The cross-entropy of a few choices of any model, without computing logits that the loss does not need.

A model in training usually computes (tokens x vocabulary) logits: 2 GB in float32 for 8 sentences of 500
tokens and Llama 3's 128,256 tokens, held several times. Here the output layer itself computes only what the
loss asks for, from the hidden states that reach it. What a model does to its logits afterwards (the soft caps
of Gemma 2, the scales of Granite and Cohere) is elementwise, so it applies to these logits as to any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..errors import ModelError
from .losses import Question, gathered_scores, masked, outcome_cross_entropy


def cross_entropies(model: Any, head: Any, input_ids: Tensor, question: Question) -> Tensor:
    """Compute the cross-entropy, in nats, of every choice of the question in one forward pass of the model.

    model: anything that ends in `head`, wrapped or not. Shape: (n + m,), float32.
    Raises ModelError if the model does not get its logits from its output layer.
    """
    with _asked(head, question):
        numbers = model(input_ids=input_ids, use_cache=False).logits.flatten().float()
    n_few = question.few.numel()
    n_tokens = head.weight.shape[0]
    if len(numbers) != n_few + len(question.whole_at) * n_tokens:
        raise ModelError(
            "the model does not call its output layer as a module, so the loss cannot be computed"
        )
    few = masked(numbers[:n_few].view_as(question.few), question.few)
    whole = numbers[n_few:].view(-1, n_tokens)
    return torch.cat(
        [
            outcome_cross_entropy(few, question.few_outcomes, question.few_expected),
            functional.cross_entropy(whole, question.whole, reduction="none"),
        ]
    )


def check_output_layer(head: Any, name: str) -> None:
    """Raise ModelError if an output layer's logits cannot be computed from its rows. name: the model's."""
    if hasattr(head, "base_layer"):
        raise ModelError(f"{name}: the adapter covers the output layer; leave it out of --targets")
    if not head.weight.is_floating_point():
        raise ModelError(f"{name}: the output layer is quantised, but the loss needs its full-precision rows")


@contextmanager
def _asked(head: Any, question: Question) -> Iterator[None]:
    """Within this context the output layer returns the answer to the question in one row: few, then whole."""
    compute, own = head.forward, vars(head).get("forward")  # accelerate sometimes sets one on the object
    rows, bias = head.weight, getattr(head, "bias", None)

    def answer(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        states = hidden.flatten(0, 1)
        # These are few, so float32 costs little, whatever the model's precision.
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
