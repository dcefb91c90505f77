"""Free greedy generation: the constraint switched off, for the ablation and for comparison.

The answer is exactly that of token-by-token greedy decoding over the whole vocabulary. The copy of the
sentence still serves as a draft for as long as the answer so far is a legal one, so that the comparison costs
no more than it has to; it never changes what is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..constraint.automaton import DEAD
from ..constraint.bias import TypeBias
from ..constraint.legal import LegalTokens
from ..data import Mention
from .answer import Answer, Decoder, Extend, check_room
from .draft import Drafter

_NOTHING: tuple[int, ...] = ()  # watch the vocabulary's best token alone


def unconstrained(
    prompt_ids: Sequence[int],
    legal_tokens: LegalTokens,
    room: int,
    expected: Sequence[Mention] = (),
    bias: TypeBias | None = None,
) -> Decoder:
    """Decode freely, until a stop token, twice the length of a plain copy, or the end of the room.

    room: the most tokens that prompt and answer may have together; ContextOverflowError beyond it.
    bias: none; a free answer has no legal tokens to choose from.
    """
    drafter = Drafter(legal_tokens, expected)
    vocabulary = legal_tokens.vocabulary
    state = legal_tokens.constraint.start
    pending = list(prompt_ids)
    n_cached = n_passes = n_tokens = 0
    token_ids: list[int] = []
    limit = 2 * sum(1 for _ in drafter.draft(state, guess=True)) + 64
    while len(token_ids) < limit:
        proposals = drafter.draft(state, guess=True) if state != DEAD else ()
        draft = [proposal.token_id for proposal in proposals][: limit - len(token_ids)]
        fed = (*pending, *draft[:-1])
        if token_ids and n_cached + len(fed) > room:
            break
        check_room(n_cached + len(fed), room)
        watch = [None] * (len(pending) - 1) + [_NOTHING] * (len(fed) - len(pending) + 1)
        scores = (yield Extend(n_cached, fed, watch))[len(pending) - 1 :]
        n_passes += 1
        n_tokens += len(fed)
        n_accepted = 0
        for position, score in enumerate(scores):
            assert score is not None, "every drafted position was watched"
            if score.best in vocabulary.stop_ids:
                return Answer(tuple(token_ids), (None,) * len(token_ids), True, n_passes, n_tokens)
            token_ids.append(score.best)
            if state != DEAD:
                state = legal_tokens.constraint.advance(state, vocabulary.token_bytes[score.best])
            if position >= len(draft) or score.best != draft[position]:
                n_accepted = position
                break
            n_accepted = position
        n_cached += len(pending) + n_accepted
        pending = token_ids[-1:]
    return Answer(tuple(token_ids), (None,) * len(token_ids), False, n_passes, n_tokens)
