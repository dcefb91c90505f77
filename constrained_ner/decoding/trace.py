"""What a decoder asked for and was told, written down, and its decisions read off that.

    passes: list[TracedPass] = []
    answer = scheduler.submit(traced(copy_draft(...), passes), prefix_ids).result()
    for decision in decisions(answer, passes, n_prompt, legal_tokens): ...

The decoder does what it does without the trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..backends.protocol import Scores
from ..constraint.automaton import State
from ..constraint.legal import END, LegalSets
from .answer import Answer, Decoder, Extend, is_decision


@dataclass(frozen=True, slots=True)
class TracedPass:
    """A forward pass: what was asked, and the scores, one for each appended token that was watched."""

    request: Extend
    scores: Sequence[Scores | None]

    @property
    def n_scored(self) -> int:
        """Decisions of the draft that the pass looked at."""
        return sum(scores is not None for scores in self.scores)


@dataclass(frozen=True, slots=True)
class Decision:
    """A token of the answer that was one of several legal ones.

    at: its number in the answer; that of the end is the answer's length. number: of the pass that decided it;
    None if no pass looked. state: before it. legal: the legal ids in order. logits: theirs. logsumexp: over
    the whole vocabulary.
    wanted: the best id of the whole vocabulary. token_id: what was written.
    """

    at: int
    number: int | None
    state: State
    legal: tuple[int, ...]
    logits: tuple[float, ...]
    logsumexp: float | None
    wanted: int | None
    token_id: int

    @property
    def legal_mass(self) -> float | None:
        """The share of the model's probability that is on legal tokens."""
        if self.logsumexp is None:
            return None
        return min(1.0, sum(math.exp(logit - self.logsumexp) for logit in self.logits))

    @property
    def overruled(self) -> bool:
        """Whether the model would have written something illegal."""
        return self.wanted is not None and self.wanted not in self.legal


def traced(decoder: Decoder, passes: list[TracedPass]) -> Decoder:
    """The same decoder; its passes are added to `passes`."""
    scores: Sequence[Scores | None] | None = None  # as a generator is begun
    while True:
        try:
            request = next(decoder) if scores is None else decoder.send(scores)
        except StopIteration as stop:  # at once, if there is nothing to decide
            answer: Answer = stop.value
            return answer
        scores = yield request
        passes.append(TracedPass(request, scores))


def decisions(
    answer: Answer, passes: Sequence[TracedPass], n_prompt: int, legal_tokens: LegalSets
) -> Iterator[Decision]:
    """The decisions of a constrained answer, in order.

    n_prompt: tokens of the prompt after the shared prefix. A place that was scored more than once was drafted
    again after a tag before it: only the last pass knew what stands before it.
    """
    last: dict[int, tuple[int, Scores]] = {}
    for number, traced_pass in enumerate(passes):
        for offset, scores in enumerate(traced_pass.scores):
            if scores is not None:
                last[traced_pass.request.keep + offset - (n_prompt - 1)] = (number, scores)
    for at, state in enumerate(states_of(answer, legal_tokens)):
        legal = legal_tokens.legal(state)
        is_end = at == len(answer.token_ids)
        stops = (i for i, after in legal.items() if after == END)
        token_id = next(stops) if is_end else answer.token_ids[at]
        if is_decision(legal) and at in last:
            number, scores = last[at]
            logits = tuple(scores.logits.tolist())
            yield Decision(at, number, state, tuple(legal), logits, scores.logsumexp, scores.best, token_id)


def states_of(answer: Answer, legal_tokens: LegalSets) -> list[State]:
    """The state before each token of an answer, and the one before its end."""
    states = [legal_tokens.start]
    for token_id in answer.token_ids:
        states.append(legal_tokens.legal(states[-1])[token_id])
    return states
