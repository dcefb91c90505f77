"""The stages of a training: copying, a mixture of everything, mostly gold; what is learnt when, how fast."""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..losses import Weights
from .corpus import Corpus
from .sources import Copying, mixture
from .tokenizer import ModelTokenizer
from .trainer import Stage

Budgets = tuple[float, float, float]

OF_ALL = Weights(share=0.25)
OF_BATCH = Weights(share=0.5, of_batch=True)
"""Of the losses, once the model copies: against the whole vocabulary, or against the tokens of the batch."""


BATCH_TOKENS = 3000
"""Tokens of a batch that the rates below are for."""

# Shares of the mixture, and of the gold stage.
USUAL = {"gold": 0.35, "tagged": 0.4, "chemical": 0.15}, {"gold": 0.9, "tagged": 0.0, "chemical": 0.1}
TAUGHT = USUAL[0], {"gold": 0.7, "tagged": 0.2, "chemical": 0.1}
MARKED = (
    {"gold": 0.25, "marked": 0.5, "tagged": 0.1, "chemical": 0.1},
    {"gold": 0.6, "marked": 0.3, "tagged": 0.0, "chemical": 0.1},
)
WITHOUT_GOLD = {"gold": 0.0, "tagged": 0.7, "chemical": 0.15}


def make_stages(
    tokenizer: ModelTokenizer,
    corpus: Corpus,
    minutes: Budgets,
    tokens: tuple[int, int, int] | None,
    *,
    taught: bool = False,
    listed: float = 0.0,
    weights: Weights = OF_ALL,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Stage]:
    """Make the three stages: copying, then a mixture of everything, then mostly gold, if there is any.

    taught: the tagged text is good enough to stay beside the gold. weights: of the losses of the last two
        stages. batch_tokens: tokens of their batches; the rates grow as the root of it.
    """
    shares = MARKED if corpus.marked else TAUGHT if taught else USUAL
    in_mixture, in_last = shares if corpus.gold else (WITHOUT_GOLD, None)
    copies = 0.3 if (tokens or minutes)[0] else 0.05  # without a copying stage the weights already copy
    faster = sqrt(batch_tokens / BATCH_TOKENS)
    budgets: list[dict[str, Any]] = [
        {"n_tokens": budget} if tokens else {"minutes": budget} for budget in tokens or minutes
    ]
    stages = [
        Stage(
            "copying",
            Copying(tokenizer),
            **budgets[0],
            weights=Weights(decision=0.0, prompt=0.0, answer=1.0, share=1.0),
            rate=1.5e-3,
            batch_tokens=1500,
        ),
        Stage(
            "mixture",
            mixture(
                tokenizer,
                corpus,
                **in_mixture,
                swapped=0.5,
                copies=copies,
            ),
            **budgets[1],
            weights=weights,
            rate=2e-3 * faster,
            last=0.7,
            dropout=0.1 if corpus.marked else 0.0,
            batch_tokens=batch_tokens,
        ),
    ]
    if in_last:
        last = mixture(tokenizer, corpus, **in_last, listed=listed / (1 - listed), swapped=0.4, rare=1.0)
        stages.append(
            Stage(
                "gold",
                last,
                **budgets[2],
                weights=weights,
                rate=1.5e-3 * faster,
                last=0.02,
                dropout=0.15,
                batch_tokens=batch_tokens,
            )
        )
    return stages
