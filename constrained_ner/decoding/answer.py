"""What a decoder asks for, and the answer that it returns.

A decoder is a generator for one sentence. It yields `Extend` requests, is sent the scores, and returns an
`Answer`. It never calls a model, so a scheduler can run many decoders in the same forward passes, and a test
can drive one by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..backends.protocol import Scores, Step
from ..constraint.automaton import State
from ..errors import ContextOverflowError
from .confidence import log_probability
from .legal_mass import legal_mass


@dataclass(frozen=True, slots=True)
class Extend:
    """Keep the first `keep` tokens of this sequence, append `token_ids`, and score after them.

    watch: for each appended token, the ids to score after it, or None. summary: score the whole vocabulary,
    too. (See `backends.protocol.Step`.)
    """

    keep: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]
    summary: bool = True

    def step(self, slot: int) -> Step:
        """This sequence's share of the next forward pass."""
        return Step(slot, self.keep, self.token_ids, self.watch, self.summary)


class Choice(NamedTuple):  # made for every token: a frozen dataclass takes three times as long to make
    """One token of an answer that the model decided.

    margins: the logits of the other legal tokens minus that of this one (see `confidence`).
    legal_mass: the share of the model's probability that is on legal tokens (see `legal_mass`).
    wanted: the token that the model would have written without the constraint.
    Both are None unless the decoder asks for the summary.
    turned: without the prior, another token would have been chosen.
    """

    token_id: int
    margins: tuple[float, ...]
    legal_mass: float | None = None
    wanted: int | None = None
    turned: bool = False

    @property
    def log_probability(self) -> float:
        """The log probability of this token among the legal ones."""
        return log_probability(self.margins)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoder's answer for one sentence.

    token_ids: the answer, without the stop token.
    choices: for each token of the answer, how it was decided; None if only one token was legal.
    finished: False if a free answer reached its length limit.
    n_passes: forward passes that this sequence took part in.
    n_tokens: tokens evaluated for it, prompt and rejected drafts included.
    """

    token_ids: tuple[int, ...]
    choices: tuple[Choice | None, ...]
    finished: bool
    n_passes: int
    n_tokens: int


Decoder = Generator[Extend, Sequence[Scores | None], Answer]


def choose(
    legal: Mapping[int, State],
    scores: Scores | None,
    bias: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
) -> Choice:
    """The legal token with the highest logit; of equals the lowest id, so that all decoders agree.

    scores: of `tuple(legal)`, in that order. bias, prior: added to the logits, in that order. A bias says
    what mistakes cost, so it changes the choice alone. A prior is evidence: it counts in the margins, too.
    """
    assert scores is not None, "the position of a decision is always watched"
    seen: list[float] = scores.logits.tolist()
    logits = with_added(seen, prior)
    token_ids = tuple(legal)
    at = place_of_best(token_ids, with_added(logits, bias))
    margins = _margins(logits, at)
    mass = None
    if scores.logsumexp is not None:
        mass = legal_mass(seen[at], _margins(seen, at), scores.logsumexp)
    turned = prior is not None and at != place_of_best(token_ids, with_added(seen, bias))
    return Choice(token_ids[at], margins, mass, scores.best, turned)


def with_added(logits: Sequence[float], added: Sequence[float] | None) -> Sequence[float]:
    """Logits with what a bias or prior adds, in the same order."""
    return logits if added is None else [logit + a for logit, a in zip(logits, added, strict=True)]


def place_of_best(token_ids: Sequence[int], logits: Sequence[float]) -> int:
    """The place of the highest logit; of equals, that of the lowest id."""
    highest = max(logits)
    if logits.count(highest) == 1:
        return logits.index(highest)
    return min((n for n, logit in enumerate(logits) if logit == highest), key=token_ids.__getitem__)


def _margins(logits: Sequence[float], chosen: int) -> tuple[float, ...]:
    highest = logits[chosen]
    return tuple([logit - highest for i, logit in enumerate(logits) if i != chosen])  # a list is made faster


def only(legal: Mapping[int, State]) -> int:
    """The token to take if there is nothing to decide: the only one, or the first of equal spellings."""
    return next(iter(legal))


def is_decision(legal: Mapping[int, State]) -> bool:
    """Whether the legal tokens lead to different states. Several stop tokens are not a decision."""
    return len(legal) > 1 and len(set(legal.values())) > 1


def check_room(n_tokens: int, room: int) -> None:
    """Raise ContextOverflowError if so many tokens exceed the room for prompt and answer."""
    if n_tokens > room:
        raise ContextOverflowError(
            f"prompt and answer need more than the {room} tokens that the context has for a sentence"
        )
