"""Moving the balance between types, for good: more of one type is found, less of another.

`llm-NERC --bias` adds a number to the logit of opening a tag. Here the same is put into the weights. The
output layer of a Llama has no bias, but its input, after the last norm, has much in common at all places
where a tag may open: a change of the tag's row that adds nearly the same number everywhere is found by least
squares. The rows are the tags' embeddings too; a change this small does not show there.
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
from .targets import TargetWriter
from .tokenizer import ModelTokenizer

RIDGE = 1e-4  # of the mean square of the input: keeps the change small where the places do not ask for it


@torch.no_grad()
def lean(
    model: Any, tokenizer: ModelTokenizer, sentences: Sequence[Sentence], bias: Mapping[str, float]
) -> dict[str, float]:
    """Add bias[type] to the logit of opening the type, as evenly as can be over the places of `sentences`.

    Changes the model's output rows. Returns type -> standard deviation of what is really added.
    """
    tags = tokenizer.tags(DDI)
    rows: Tensor = model.lm_head.weight
    opening = {*tags.open_after_space, *tags.open_bare}
    places = torch.cat(list(_places(model, tokenizer, sentences, opening)))
    square = places.T @ places
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    direction = torch.linalg.solve(square, places.sum(0))  # adds 1 everywhere, nearly
    for name, *forms in zip(DDI.type_names, tags.open_after_space, tags.open_bare, strict=True):
        rows[forms] += bias.get(name, 0.0) * direction.to(rows)
    spread = (places @ direction).std().item()
    return {name: abs(number) * spread for name, number in bias.items()}


def _places(
    model: Any, tokenizer: ModelTokenizer, sentences: Sequence[Sentence], opening: set[int]
) -> Iterator[Tensor]:
    """The output layer's input wherever a tag may open. Shape: (places of a batch, n_hidden), float64."""
    writer = TargetWriter(tokenizer, DDI)
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
