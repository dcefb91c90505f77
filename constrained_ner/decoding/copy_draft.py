"""Constrained greedy decoding with the sentence itself as the draft.

Most of an answer is copied, and what would be copied is known. So the prompt and the whole untagged rest of
the sentence go through the model in one pass. The draft is accepted as far as the best legal token agrees
with it; where the model prefers a tag, the tag is taken, the rejected tail leaves the cache, and the rest of
the sentence is drafted again. The answer equals that of `stepwise`.

Drafting the plain copy costs two passes a mention and one more: one finds where it opens, one where it
closes. So the draft also guesses tags: where a mention is expected, and at the end of the word that an
unexpected one opened at. A right guess saves a pass, a wrong one costs one; guesses are made only while
passes saved before (and one in advance) pay for them, so that no sentence takes more than two passes a
mention and two. (Where a tag is several tokens that differ by type, each further choice among types may add
one.)

This is speculative decoding (Leviathan et al. 2023) with greedy verification and a draft that costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..backends.protocol import Scores
from ..constraint.bias import TypeBias
from ..constraint.legal import END, LegalTokens
from ..data import Mention
from .answer import Answer, Choice, Decoder, Extend, check_room, choose
from .draft import Drafter


def copy_draft(
    prompt_ids: Sequence[int],
    legal_tokens: LegalTokens,
    room: int,
    expected: Sequence[Mention] = (),
    bias: TypeBias | None = None,
) -> Decoder:
    """Decode one sentence, verifying drafts.

    room: the most tokens that prompt and answer may have together; ContextOverflowError beyond it.
    expected: disjoint mentions that the answer may well have; they never change it, right ones save passes.
    """
    drafter = Drafter(legal_tokens, expected)
    state = legal_tokens.constraint.start
    pending = list(prompt_ids)  # accepted, not yet in the cache
    n_cached = n_passes = n_tokens = 0
    token_ids: list[int] = []
    choices: list[Choice | None] = []
    n_spare = 1  # passes that wrong guesses may still cost
    while state != END:
        draft = list(drafter.draft(state, guess=n_spare > 0))
        # What follows the last decision is forced: it needs no pass.
        n_verified = max((i + 1 for i, proposal in enumerate(draft) if proposal.decided), default=0)
        fed: tuple[int, ...] = ()
        scores: Sequence[Scores | None] = ()
        if n_verified:
            verified = draft[:n_verified]
            fed = (*pending, *(proposal.token_id for proposal in verified[:-1]))
            check_room(n_cached + len(fed), room)
            watch = [None] * (len(pending) - 1) + [tuple(p.legal) if p.decided else None for p in verified]
            scores = (yield Extend(n_cached, fed, watch))[len(pending) - 1 :]
            n_passes += 1
            n_tokens += len(fed)
        n_right = len(pending)  # tokens from n_cached on that are part of the answer as they were drafted
        for position, proposal in enumerate(draft):
            choice = None
            if proposal.decided:
                leaning = None if bias is None else bias.of(state, proposal.legal)
                choice = choose(proposal.legal, scores[position], leaning)
            token_id = proposal.token_id if choice is None else choice.token_id
            state = proposal.legal[token_id]
            if state != END:
                token_ids.append(token_id)
                choices.append(choice)
                pending.append(token_id)
            accepted = token_id == proposal.token_id
            if accepted:
                n_spare += proposal.marks
            elif proposal.guess:
                n_spare -= 1
            if not accepted:
                break
            n_right += 1
        n_kept = min(n_right, len(fed))
        n_cached += n_kept
        del pending[:n_kept]
    return Answer(tuple(token_ids), tuple(choices), True, n_passes, n_tokens)
