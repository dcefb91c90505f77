"""What a decoder asks for, and the answer that it returns.

A decoder is a generator for one sentence. It yields `Extend` requests, is sent the scores, and returns an
`Answer`. It never calls a model, so that a scheduler can run many decoders in the same forward passes, and a
test can drive one by hand.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from ..backends.protocol import Scores
from ..constraint.automaton import State
from ..errors import ContextOverflowError
from .confidence import log_probability


@dataclass(frozen=True, slots=True)
class Extend:
    """Keep the first `keep` tokens of this sequence, append `token_ids`, and score after them.

    watch: per appended token, the ids to score after it, or None (see `backends.base.Step`).
    """

    keep: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]


@dataclass(frozen=True, slots=True)
class Choice:
    """One token of an answer that was decided by the model.

    margins: the logits of the other legal tokens minus that of this one (see `confidence`).
    legal_mass: share of the whole vocabulary's probability that is on legal tokens, in [0, 1].
    wanted: the token that the model would have written without the constraint.
    """

    token_id: int
    margins: tuple[float, ...]
    legal_mass: float
    wanted: int

    @property
    def log_probability(self) -> float:
        """Of the token among the legal ones."""
        return log_probability(self.margins)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decoder made of one sentence.

    token_ids: the answer, without the stop token.
    choices: per token of the answer, how it was decided; None where only one token was legal.
    finished: False where a free answer ran into its length limit.
    n_passes: forward passes that this sequence took part in.
    n_tokens: tokens that were evaluated for it, prompt and rejected drafts included.
    """

    token_ids: tuple[int, ...]
    choices: tuple[Choice | None, ...]
    finished: bool
    n_passes: int
    n_tokens: int


Decoder = Generator[Extend, Sequence[Scores | None], Answer]


def choose(legal: Mapping[int, State], scores: Scores | None, bias: Sequence[float] | None = None) -> Choice:
    """The legal token with the highest logit; of equals the lowest id, so that every decoder agrees.

    scores: of `tuple(legal)`, in that order. bias: added to the logits for the choice alone, in that order.
    """
    assert scores is not None, "the position of a decision is always watched"
    logits: list[float] = scores.logits.tolist()
    leaning = logits if bias is None else [logit + b for logit, b in zip(logits, bias, strict=True)]
    highest = max(leaning)
    token_id = min(i for i, logit in zip(legal, leaning, strict=True) if logit == highest)
    chosen = logits[list(legal).index(token_id)]
    margins = tuple(logit - chosen for i, logit in zip(legal, logits, strict=True) if i != token_id)
    legal_logsumexp = chosen - log_probability(margins)
    return Choice(
        token_id=token_id,
        margins=margins,
        legal_mass=min(1.0, math.exp(legal_logsumexp - scores.logsumexp)),
        wanted=scores.best,
    )


def only(legal: Mapping[int, State]) -> int:
    """The token to take where there is nothing to decide: the only one, or the first way to spell it."""
    return next(iter(legal))


def is_decision(legal: Mapping[int, State]) -> bool:
    """Whether legal tokens lead to different places. Several stop tokens are no decision."""
    return len(legal) > 1 and len(set(legal.values())) > 1


def check_room(n_tokens: int, room: int) -> None:
    """ContextOverflowError where so many tokens are more than the room."""
    if n_tokens > room:
        raise ContextOverflowError(
            f"{n_tokens} tokens do not fit the {room} that the context has for a sentence"
        )
