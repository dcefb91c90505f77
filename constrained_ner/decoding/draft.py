"""Drafts: the rest of an answer, proposed for the model to confirm.

A plain draft copies on. A guessing one also marks names: those that it was told to expect, and those that
the model wanted to mark in an earlier draft. If another mention is open, it closes that one at the end of the
word.

A draft runs to the end of the answer, or to a horizon. What follows its first wrong token is computed in
vain, so a short draft is cheaper where tokens cost much (see `LogitsBackend.draft_horizon`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..constraint.automaton import State, is_single
from ..constraint.edges import CLOSE
from ..constraint.legal import END, LegalTokens, LegalTokenSets
from ..data import Mention
from .answer import check_room, is_decision, only

WORD_ENDS = (b"", b" ", b".", b",", b";", b":", b")", b"]")


class Proposal(NamedTuple):  # made for every token, like `Choice`
    """A drafted token, with the legal set to verify it against.

    decided: the model decides here; otherwise the token is forced.
    guess: the plain draft would propose another token. marks: the guess is that a tag begins.
    is_last: the draft ends here: what comes after it cannot be guessed.
    """

    token_id: int
    legal: Mapping[int, State]
    decided: bool
    guess: bool = False
    marks: bool = False
    is_last: bool = False


class Drafter(ABC):
    """Proposes the rest of the answer for one sentence.

    horizon: the most tokens of one draft; None for the whole rest.
    """

    def __init__(self, legal_tokens: LegalTokenSets, horizon: int | None = None) -> None:
        self.legal_tokens = legal_tokens
        self._horizon = horizon
        self._proposals: dict[tuple[State, bool], Proposal] = {}  # reused, as drafts begin again and again
        self._preferred: dict[State, int] = {}

    def draft(self, state: State, *, guess: bool, n_before: int, room: int) -> list[Proposal]:
        """The proposals from the state to the stop token, to the horizon, or to where nothing is likely.

        n_before: how many tokens of prompt and answer precede the draft. Raises ContextOverflowError as soon
        as the model would need more than `room` tokens for the next decision.
        """
        found: list[Proposal] = []
        for proposal in islice(self.proposals(state, guess=guess), self._horizon):
            if proposal.decided:
                check_room(n_before + len(found), room)
            found.append(proposal)
        return found

    def proposals(self, state: State, *, guess: bool) -> Iterator[Proposal]:
        """The same one by one, without room or horizon."""
        while state != END:
            proposal = self._proposals.get((state, guess))
            if proposal is None:
                proposal = self._proposals[state, guess] = self.propose(state, guess)
            yield proposal
            if proposal.is_last:
                return
            state = proposal.legal[proposal.token_id]

    def prefer(self, token_ids: Mapping[State, int]) -> None:
        """Guess these tokens at these states from now on.

        They are what the model would have chosen later in a draft that was wrong earlier. What comes before a
        state has changed since, so they are guesses, but good ones.
        """
        self._preferred.update(token_ids)
        for state in token_ids:
            self._proposals.pop((state, True), None)

    @abstractmethod
    def propose(self, state: State, guess: bool) -> Proposal:
        """The next token. guess: whether it may be another one than the plain draft has."""

    @abstractmethod
    def usual_length(self, n_before: int, room: int) -> int:
        """About how many tokens an answer has, at most: from this the limit of a free one is made.

        n_before: how many tokens precede it. Raises ContextOverflowError as soon as it exceeds the room.
        """


class CopyDrafter(Drafter):
    """Drafts copy the sentence, and guess tags.

    expected: disjoint mentions that the answer is likely to have.
    """

    def __init__(
        self, legal_tokens: LegalTokens, expected: Sequence[Mention] = (), horizon: int | None = None
    ) -> None:
        super().__init__(legal_tokens, horizon)
        self.legal_tokens: LegalTokens = legal_tokens
        self._constraint = legal_tokens.constraint
        self._machine = self._constraint.machine
        ordered = sorted(expected, key=lambda m: m.start)
        # byte positions of the expected mentions, and the contexts on the way into their types
        self._starts = [self._constraint.byte_at(m.start) for m in ordered]
        self._ends = [self._constraint.byte_at(m.end) for m in ordered]
        self._openings = [self._machine.opening[m.type] for m in ordered]

    def usual_length(self, n_before: int, room: int) -> int:
        n_drafted = 0
        for _ in self.proposals(self.legal_tokens.start, guess=True):
            check_room(n_before + n_drafted, room)
            n_drafted += 1
        return n_drafted

    def propose(self, state: State, guess: bool) -> Proposal:
        legal = self.legal_tokens.legal(state)
        if not is_decision(legal):
            return Proposal(only(legal), legal, decided=False)
        plain = next(iter(legal))  # under the canonical rule it copies, unless several readings are open
        if self.legal_tokens.rule == "any" or not is_single(state):
            copying = self.legal_tokens.copying_token(state)
            plain = copying if copying in legal else plain
        guessed = self._guess(state, legal, plain) if guess else plain
        if guessed == plain:
            return Proposal(plain, legal, decided=True)
        before, after = self._machine.context(state), self._machine.context(legal[guessed])
        marks = self._machine.begins_tag(before, after)
        return Proposal(guessed, legal, decided=True, guess=True, marks=marks)

    def _guess(self, state: State, legal: Mapping[int, State], plain: int) -> int:
        """The token towards the next expected tag; the plain draft's token if no tag is near."""
        if state in self._preferred:
            return self._preferred[state]
        machine = self._machine
        position = machine.position(state)
        if machine.context(state) in machine.mention_contexts:
            place, contexts = self._place_to_close(position), machine.closing
        else:
            place, contexts = self._place_to_open(position)
        if place is None or position < machine.position(legal[plain]) < place:
            return plain  # no tag is near: one is placed here or after a space
        to = {token_id: machine.position(after) for token_id, after in legal.items()}
        sizes = self.legal_tokens.vocabulary.token_bytes
        tags = [i for i, after in legal.items() if to[i] == place and machine.context(after) in contexts]
        if tags:
            return max(tags, key=lambda i: len(sizes[i]))
        if to[plain] <= place:
            return plain
        up_to_place = [i for i in legal if position < to[i] <= place]
        return max(up_to_place, key=lambda i: to[i], default=plain)

    def _place_to_open(self, position: int) -> tuple[int | None, frozenset[int]]:
        """Where the next expected mention starts, and the contexts on the way into its type."""
        following = bisect_left(self._starts, position)
        if following == len(self._starts):
            return None, frozenset()
        return self._starts[following], self._openings[following]

    def _place_to_close(self, position: int) -> int | None:
        """Where the open mention ends: as expected if it was, else here if this is the end of a word."""
        following = bisect_left(self._ends, position)
        if following < len(self._ends) and self._starts[following] <= position:
            return self._ends[following]
        return position if self._at_word_end(position) else None

    def _at_word_end(self, position: int) -> bool:
        """Whether a mention may close here, before white space, closing punctuation or the end."""
        following = self._constraint.data[position : position + 1]
        return bool(self._constraint.edges[position] & CLOSE) and following in WORD_ENDS
