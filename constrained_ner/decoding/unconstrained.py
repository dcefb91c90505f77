"""Free greedy generation: the constraint switched off, for the ablation and for comparison.

The answer is exactly that of token-by-token greedy decoding over the whole vocabulary. As long as the answer
so far is a legal one, the copy of the sentence still serves as a draft, so that the comparison costs no more
than it has to. The draft never changes what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ..constraint.automaton import DEAD
from ..constraint.bias import Bias
from ..constraint.legal import LegalTokenSets
from ..data import Mention
from .answer import Answer, Decoder, Extend
from .drafters import drafter_for

_NOTHING: tuple[int, ...] = ()  # watch only the vocabulary's best token


def unconstrained(
    prompt_ids: Sequence[int],
    legal_tokens: LegalTokenSets,
    room: int,
    expected: Sequence[Mention] = (),
    bias: Bias | None = None,
    *,
    prior: Bias | None = None,
    horizon: int | None = None,
    summary: bool = True,
) -> Decoder:
    """Decode freely, until a stop token, twice the usual length of an answer, or the end of the room.

    room: the most tokens that prompt and answer may have together; ContextOverflowError if a draft of the
        whole answer does not fit.
    bias, prior: ignored; a free answer has no legal tokens to choose from.
    horizon: the most tokens of a draft; None for the whole rest. summary: ignored; it is the answer.
    """
    drafter = drafter_for(legal_tokens, expected)
    vocabulary = legal_tokens.vocabulary
    state = legal_tokens.start
    pending = list(prompt_ids)
    n_cached = n_passes = n_tokens = 0
    token_ids: list[int] = []
    limit = 2 * drafter.usual_length(len(prompt_ids), room) + 64
    while len(token_ids) < limit:
        proposals = drafter.proposals(state, guess=True) if state != DEAD else iter(())
        n_most = limit - len(token_ids) if horizon is None else min(horizon, limit - len(token_ids))
        draft = [proposal.token_id for proposal in islice(proposals, n_most)]
        fed = (*pending, *draft[:-1])
        if n_cached + len(fed) > room:
            break
        watch = [None] * (len(pending) - 1) + [_NOTHING] * (len(fed) - len(pending) + 1)
        scores = (yield Extend(n_cached, fed, watch, summary=True))[len(pending) - 1 :]
        n_passes += 1
        n_tokens += len(fed)
        n_accepted = 0
        for position, score in enumerate(scores):
            best = None if score is None else score.best
            assert best is not None, "every drafted position asks for the best token"
            if best in legal_tokens.end_ids:
                return Answer(tuple(token_ids), (None,) * len(token_ids), True, n_passes, n_tokens)
            token_ids.append(best)
            if state != DEAD:
                state = legal_tokens.constraint.advance(state, vocabulary.token_bytes[best])
            n_accepted = position
            if position >= len(draft) or best != draft[position]:
                break
        n_cached += len(pending) + n_accepted
        pending = token_ids[-1:]
    return Answer(tuple(token_ids), (None,) * len(token_ids), False, n_passes, n_tokens)
