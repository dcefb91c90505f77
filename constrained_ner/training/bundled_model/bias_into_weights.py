"""Puts a bias into the weights for good: the model then finds more of one type, or less.

`llm-NERC --bias` adds a number to the logit of opening a tag. This module changes the weights to the same
effect. The output layer of a Llama has no bias, but its inputs (after the last norm) are alike wherever a tag
may open. Least squares finds the change to a tag's row that adds nearly the same number at all those places.
The rows are also the tags' embeddings; a change this small makes no difference there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data import Sentence
from ...schema import DDI
from ..batches import bucketed
from .tokenizer import ModelTokenizer

RIDGE = (
    1e-4  # relative to the mean square of the input: keeps the change small in directions that do not matter
)


@torch.no_grad()
def add_bias(
    model: Any, tokenizer: ModelTokenizer, sentences: Sequence[Sentence], bias: Mapping[str, float]
) -> dict[str, float]:
    """Add bias[type] to the logit of opening the type, as evenly as possible over `sentences`.

    Changes the model's output rows. Returns type -> standard deviation of what was really added.
    """
    tags = tokenizer.tags(DDI)
    rows: Tensor = model.lm_head.weight
    opening = {*tags.open_after_space, *tags.open_bare}
    places = torch.cat(list(_places(model, tokenizer, sentences, opening)))
    square = places.T @ places
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    direction = torch.linalg.solve(square, places.sum(0))  # adds about 1 everywhere
    for name, *forms in zip(DDI.type_names, tags.open_after_space, tags.open_bare, strict=True):
        rows[forms] += bias.get(name, 0.0) * direction.to(rows)
    spread = (places @ direction).std().item()
    return {name: abs(number) * spread for name, number in bias.items()}


def _places(
    model: Any, tokenizer: ModelTokenizer, sentences: Sequence[Sentence], opening: set[int]
) -> Iterator[Tensor]:
    """Yield the output layer's inputs wherever a tag may open. Shape: (n, n_hidden) per batch, float64."""
    writer = tokenizer.target_writer(DDI)
    examples = [
        replace(e, decisions=tuple(d for d in e.decisions if opening & set(d.legal)))
        for e in map(writer.write, sentences)
    ]
    was_training = model.training
    model.eval()
    for batch in bucketed(examples, 3000, tokenizer.pad, np.random.default_rng(0)):
        ids = torch.from_numpy(batch.ids).to(model.device)
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
        yield hidden[torch.from_numpy(batch.decisions).to(ids.device)].double()
    model.train(was_training)
