"""The reference: constrained greedy decoding, one token per forward pass.

Slow and plain on purpose. Every other constrained decoder must give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..constraint.bias import Bias, added_by
from ..constraint.legal import END, LegalSets
from ..data import Mention
from .answer import Answer, Choice, Decoder, Extend, check_room, choose, is_decision, only


def stepwise(
    prompt_ids: Sequence[int],
    legal_tokens: LegalSets,
    room: int,
    expected: Sequence[Mention] = (),
    bias: Bias | None = None,
    *,
    prior: Bias | None = None,
    horizon: int | None = None,
    summary: bool = True,
) -> Decoder:
    """Decode one sentence token by token.

    room: the most tokens that prompt and answer may have together; ContextOverflowError beyond it.
    expected, horizon: ignored, as nothing is drafted; all decoders have the same signature.
    summary: find each choice's `legal_mass` and `wanted`, too.
    """
    state = legal_tokens.start
    pending = list(prompt_ids)
    n_cached = n_passes = 0
    token_ids: list[int] = []
    choices: list[Choice | None] = []
    while True:
        legal = legal_tokens.legal(state)
        check_room(n_cached + len(pending), room)
        watch: list[Sequence[int] | None] = [None] * len(pending)
        watch[-1] = tuple(legal)
        scores = yield Extend(n_cached, tuple(pending), watch, summary)
        n_passes += 1
        n_cached += len(pending)
        added = added_by(bias, state, legal), added_by(prior, state, legal)
        choice = choose(legal, scores[-1], *added) if is_decision(legal) else None
        token_id = only(legal) if choice is None else choice.token_id
        state = legal[token_id]
        if state == END:
            return Answer(tuple(token_ids), tuple(choices), True, n_passes, n_cached)
        token_ids.append(token_id)
        choices.append(choice)
        pending = [token_id]
