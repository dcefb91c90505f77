"""Drafts: the rest of an answer, proposed for the model to confirm.

The plain draft copies on. A guessing one also marks names: those that it was told to expect, and where a tag
is open that it was not told of, it closes it at the end of the word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..constraint.automaton import State
from ..constraint.edges import CLOSE
from ..constraint.legal import END, LegalTokens
from ..data import Mention
from .answer import is_decision, only

_WORD_ENDS = (b"", b" ", b".", b",", b";", b":", b")", b"]")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A drafted token, with the legal set that it is verified against.

    decided: the model has a say here.
    guess: the plain draft would propose another token. marks: the guess is that a tag begins.
    """

    token_id: int
    legal: Mapping[int, State]
    decided: bool
    guess: bool = False
    marks: bool = False


class Drafter:
    """Proposes the rest of the answer for one sentence.

    expected: disjoint mentions that the answer may well have.
    """

    def __init__(self, legal_tokens: LegalTokens, expected: Sequence[Mention] = ()) -> None:
        self.legal_tokens = legal_tokens
        self._constraint = legal_tokens.constraint
        self._machine = self._constraint.machine
        text = self._constraint.text
        self._expected = [  # start byte, end byte, contexts on the way into the type
            (len(text[: m.start].encode()), len(text[: m.end].encode()), self._machine.opening[m.type])
            for m in sorted(expected, key=lambda m: m.start)
        ]
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
        copying = self.legal_tokens.copying_token(state)
        plain = copying[0] if copying and copying[0] in legal else next(iter(legal))
        guessed = self._guess(state, legal, plain) if guess else plain
        if guessed == plain:
            return Proposal(plain, legal, decided=True)
        before, after = state[0] % self._machine.n_contexts, legal[guessed][0] % self._machine.n_contexts
        return Proposal(guessed, legal, decided=True, guess=True, marks=self._begins_tag(before, after))

    def _begins_tag(self, before: int, after: int) -> bool:
        return self._machine.copies[before] >= 0 and after != self._machine.copies[before]

    def _guess(self, state: State, legal: Mapping[int, State], plain: int) -> int:
        """The token towards the next expected tag; the plain draft's where none is near."""
        position, context = divmod(state[0], self._machine.n_contexts)
        inside = self._machine.copies[context] in self._machine.inside_contexts
        if inside:
            place = self._expected_end(position)
            contexts = self._machine.closing
            if place is None and self._at_word_end(position):
                place = position
        else:
            place, contexts = self._expected_start(position)
        if place is None:
            return plain
        ends = {token_id: divmod(after[0], self._machine.n_contexts) for token_id, after in legal.items()}
        sizes = self.legal_tokens.vocabulary.token_bytes
        tags = [i for i, (to, after) in ends.items() if to == place and after in contexts]
        if tags:
            return max(tags, key=lambda i: len(sizes[i]))
        if ends[plain][0] <= place:
            return plain
        up_to_place = [i for i, (to, _) in ends.items() if position < to <= place]
        return max(up_to_place, key=lambda i: ends[i][0], default=plain)

    def _expected_start(self, position: int) -> tuple[int | None, frozenset[int]]:
        for start, _, opening in self._expected:
            if start >= position:
                return start, opening
        return None, frozenset()

    def _expected_end(self, position: int) -> int | None:
        for start, end, _ in self._expected:
            if start <= position <= end:
                return end
        return None

    def _at_word_end(self, position: int) -> bool:
        """Whether an open tag may be closed before white space, closing punctuation or the end."""
        following = self._constraint.data[position : position + 1]
        return bool(self._constraint.edges[position] & CLOSE) and following in _WORD_ENDS
