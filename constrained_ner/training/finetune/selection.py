"""Selects the sentences to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...data import Sentence
from ...errors import UserError

Select = Literal["all", "random", "balanced"]


def select(sentences: Sequence[Sentence], how: Select, n_most: int | None, seed: int) -> list[Sentence]:
    """Select at most `n_most` sentences, the same ones for the same seed, in the order of the file.

    all: the first ones. random: any. balanced: see `_balanced`. Raises UserError.
    """
    if how == "balanced" and n_most is None:
        raise UserError("--select balanced needs --max-examples, since it chooses among the sentences")
    if n_most is None or n_most >= len(sentences):
        return list(sentences)
    if how == "all":
        return list(sentences[:n_most])
    shuffled = [int(i) for i in np.random.default_rng(seed).permutation(len(sentences))]
    chosen = shuffled[:n_most] if how == "random" else _balanced(sentences, shuffled, n_most)
    return [sentences[i] for i in sorted(chosen)]


def _balanced(sentences: Sequence[Sentence], order: Sequence[int], n_most: int) -> list[int]:
    """Balance the types: the next sentence always has the type that is rarest so far.

    Sentences without mentions keep their share, since the model also has to learn where no name is.
    """
    empty = [i for i in order if not sentences[i].mentions]
    n_empty = round(n_most * len(empty) / len(sentences))
    types = sorted({m.type for s in sentences for m in s.mentions})
    waiting = {t: [i for i in reversed(order) if _has(sentences[i], t)] for t in types}
    counts: Counter[str] = Counter()
    chosen = dict.fromkeys(empty[:n_empty])
    while len(chosen) < n_most and any(waiting.values()):
        rarest = min((t for t in types if waiting[t]), key=lambda t: (counts[t], t))
        index = waiting[rarest].pop()
        if index not in chosen:
            chosen[index] = None
            counts.update(m.type for m in sentences[index].mentions)
    return list(chosen)


def _has(sentence: Sentence, entity_type: str) -> bool:
    return any(m.type == entity_type for m in sentence.mentions)
