"""The stages of a training: copying, a mixture of everything, mostly gold; what is learnt when, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..batches import Example
from ..losses import Weights
from .corpus import Corpus
from .sources import Copying, mixture
from .tokenizer import ModelTokenizer
from .trainer import Stage

Budgets = tuple[float, float, float]

OF_ALL = Weights(share=0.25)
OF_BATCH = Weights(prompt=0.0, share=0.5, of_batch=True)
"""Of the losses, once the model copies: against the whole vocabulary, or against the tokens of the batch."""


def make_stages(
    tokenizer: ModelTokenizer,
    corpus: Corpus,
    minutes: Budgets,
    tokens: tuple[int, int, int] | None,
    *,
    marked: Sequence[Example] = (),
    taught: bool = False,
    listed: float = 0.0,
    weights: Weights = OF_ALL,
) -> list[Stage]:
    """Make the three stages: copying, then a mixture of everything, then mostly gold.

    marked: sentences with a teacher's probabilities. taught: the tagged text is good enough to stay beside
        the gold. weights: of the losses of the last two stages.
    """
    of_marks = 0.3 if marked else 0.0
    copies = 0.3 if (tokens or minutes)[0] else 0.05  # without a copying stage the weights already copy
    sources = (
        Copying(tokenizer),
        mixture(
            tokenizer,
            corpus,
            gold=0.35,
            tagged=0.4 - of_marks,
            marked=(marked, of_marks),
            chemical=0.15,
            swapped=0.5,
            copies=copies,
        ),
        mixture(
            tokenizer,
            corpus,
            gold=0.7 if taught else 0.9 - of_marks,
            tagged=0.2 if taught else 0.0,
            marked=(marked, of_marks),
            chemical=0.1,
            listed=listed / (1 - listed),
            swapped=0.4,
            rare=1.0,
        ),
    )
    budgets: list[dict[str, Any]] = [
        {"n_tokens": tokens[i]} if tokens else {"minutes": minutes[i]} for i in range(len(sources))
    ]
    copying_only = Weights(decision=0.0, prompt=0.0, answer=1.0, share=1.0)
    return [
        Stage("copying", sources[0], **budgets[0], weights=copying_only, rate=1.5e-3, batch_tokens=1500),
        Stage("mixture", sources[1], **budgets[1], rate=2e-3, last=0.7, weights=weights),
        Stage(
            "gold",
            sources[2],
            **budgets[2],
            rate=1.5e-3,
            last=0.02,
            dropout=0.15,
            weights=weights,
        ),
    ]
