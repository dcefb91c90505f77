"""Constrained greedy decoding with the sentence itself as the draft.

Most of an answer is copied, and what would be copied is known. So the prompt and the whole untagged rest of
the sentence go through the model in one pass. The draft is accepted as far as the best legal token agrees
with it; where the model prefers a tag, the tag is taken, the rejected tail leaves the cache, and the rest of
the sentence is drafted again. The answer equals that of `stepwise`.

Drafting the plain copy costs two passes a mention and one more: one finds where it opens, one where it
closes. So inside a mention the draft also guesses that the tag closes at the end of the word: right, it saves
a pass; wrong, it costs one. And where names come thick, most of a long draft is thrown away, so drafts are
kept short, which costs a pass where nothing comes. Both are done only while passes saved before (and one in
advance) pay for it, so that no sentence takes more than two passes a mention and two. (Where a tag is several
tokens that differ by type, each further choice among types may add one.)

This is speculative decoding (Leviathan et al. 2023) with greedy verification and a draft that costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ..backends.base import Scores
from ..constraint import State
from ..edges import CLOSE
from ..legal import END, LegalTokens
from .base import Answer, Choice, Decoder, Extend, check_room, choose, is_decision, only

SHORT_DRAFT = 24
"""Tokens. Half of the gaps between two names of the DDI corpus are shorter."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A drafted token, with the legal set that it is verified against.

    decided: the model has a say here. closes: this is the guess that an open tag closes.
    """

    token_id: int
    legal: Mapping[int, State]
    decided: bool
    closes: bool = False


def copy_draft(prompt_ids: Sequence[int], legal_tokens: LegalTokens, room: int) -> Decoder:
    """Decode one sentence, verifying drafts.

    room: the most tokens that prompt and answer may have together; ContextOverflowError beyond it.
    """
    drafter = Drafter(legal_tokens)
    state = legal_tokens.constraint.start
    pending = list(prompt_ids)  # accepted, not yet in the cache
    n_cached = n_passes = n_tokens = 0
    token_ids: list[int] = []
    choices: list[Choice | None] = []
    n_spare = 1  # passes that wrong guesses and short drafts may still cost
    while state != END:
        length = SHORT_DRAFT if n_spare > 1 else None
        draft = list(islice(drafter.draft(state, guess=n_spare > 0), length))
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
            choice = choose(proposal.legal, scores[position]) if proposal.decided else None
            token_id = proposal.token_id if choice is None else choice.token_id
            state = proposal.legal[token_id]
            if state != END:
                token_ids.append(token_id)
                choices.append(choice)
                pending.append(token_id)
            accepted = token_id == proposal.token_id
            if proposal.closes:
                n_spare += 1 if accepted else -1
            if not accepted:
                break
            n_right += 1
        else:
            n_spare -= bool(fed) and state != END  # a short draft, all of it right
        n_kept = min(n_right, len(fed))
        n_cached += n_kept
        del pending[:n_kept]
    return Answer(tuple(token_ids), tuple(choices), True, n_passes, n_tokens)


class Drafter:
    """Proposes the rest of an answer: copy on, or (a guess) close an open tag at the end of the word."""

    def __init__(self, legal_tokens: LegalTokens) -> None:
        self.legal_tokens = legal_tokens
        self._proposals: dict[tuple[State, bool], Proposal] = {}  # drafts are made again after every tag

    def draft(self, state: State, *, guess: bool) -> Iterator[Proposal]:
        """Proposals from the state to the stop token."""
        while state != END:
            proposal = self._proposals.get((state, guess))
            if proposal is None:
                proposal = self._proposals[state, guess] = self._propose(state, guess)
            yield proposal
            state = proposal.legal[proposal.token_id]

    def _propose(self, state: State, guess: bool) -> Proposal:
        legal = self.legal_tokens.legal(state)
        if not is_decision(legal):
            return Proposal(only(legal), legal, decided=False)
        closing = self._closing(state, legal) if guess and self._at_word_end(state) else None
        if closing is not None:
            return Proposal(closing, legal, decided=True, closes=True)
        copying = self.legal_tokens.copying_token(state)
        token_id = copying[0] if copying and copying[0] in legal else next(iter(legal))
        return Proposal(token_id, legal, decided=True)

    def _at_word_end(self, state: State) -> bool:
        """Whether a tag is open and may be closed before white space, closing punctuation or the end."""
        constraint = self.legal_tokens.constraint
        position, context = divmod(state[0], constraint.machine.n_contexts)
        if context not in constraint.machine.inside_contexts or not constraint.edges[position] & CLOSE:
            return False
        return constraint.data[position : position + 1] in (b"", b" ", b".", b",", b";", b":", b")", b"]")

    def _closing(self, state: State, legal: Mapping[int, State]) -> int | None:
        """The token that begins (or is) the closing tag: it leaves the text's position where it is."""
        n_contexts = self.legal_tokens.constraint.machine.n_contexts
        position = state[0] // n_contexts
        for token_id, after in legal.items():
            if after != END and after[0] // n_contexts == position:
                return token_id
        return None
