"""Drafts of a list of names, for the model to confirm.

What separates entries is known, and so is the rest of a name that can only be continued in one way: most of a
list is forced. The rest is guessed: the expected names in order, each with its expected type; for a name that
the model has begun by itself, the end of its word, and the type of the entry before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..constraint.automaton import State
from ..constraint.edges import CLOSE
from ..constraint.legal import END
from ..constraint.list_tokens import LegalListTokens
from ..constraint.name_list import NEXT, NONE
from ..data import Mention
from .answer import check_room, is_decision, only
from .draft import WORD_ENDS, Drafter, Proposal


class ListDrafter(Drafter):
    """Proposes the rest of a list.

    expected: disjoint mentions that the answer is likely to have.
    """

    def __init__(
        self, legal_tokens: LegalListTokens, expected: Sequence[Mention] = (), horizon: int | None = None
    ) -> None:
        super().__init__(legal_tokens, horizon)
        self._constraint = legal_tokens.constraint
        ordered = sorted(expected, key=lambda m: m.start)
        self._starts = [self._constraint.byte_at(m.start) for m in ordered]
        self._ends = [self._constraint.byte_at(m.end) for m in ordered]
        self._types = [m.type for m in ordered]

    def usual_length(self, n_before: int, room: int) -> int:
        """As long as the sentence: lists are rarely longer."""
        n_tokens = len(self.legal_tokens.vocabulary.encode(self._constraint.text))
        check_room(n_before + n_tokens, room)
        return n_tokens

    def propose(self, state: State, guess: bool) -> Proposal:
        legal = self.legal_tokens.legal(state)
        if not is_decision(legal):
            return Proposal(only(legal), legal, decided=False)
        if state in self._preferred:
            return Proposal(self._preferred[state], legal, decided=True)
        wanted = self._wanted(state)
        if wanted == b"":
            end = next((token_id for token_id, after in legal.items() if after == END), None)
            if end is not None:
                return Proposal(end, legal, decided=True)
        token_bytes = self.legal_tokens.vocabulary.token_bytes
        fitting = [
            token_id
            for token_id, after in legal.items()
            if wanted and after != END and (wanted + b" ").startswith(token_bytes[token_id])
        ]
        if not fitting:
            return Proposal(next(iter(legal)), legal, decided=True, is_last=True)
        return Proposal(max(fitting, key=lambda i: len(token_bytes[i])), legal, decided=True)

    def _wanted(self, state: State) -> bytes | None:
        """What is likely to be written next, up to a place where this is asked again; None if unknown.

        Empty for the end of the answer.
        """
        machine, data = self._constraint.machine, self._constraint.data
        ((position, context), *_) = machine.items(state)
        following = bisect_left(self._starts, position)
        is_expected = following < len(self._starts)
        if context in machine.type_of:
            return NEXT.rstrip().encode() if is_expected and self._may_list(position) else b""
        if context in machine.names_begin or context in machine.separators:
            name = data[self._starts[following] : self._ends[following]] if is_expected else None
            if context in machine.separators:
                return None if name is None else b" " + name
            return name if name is not None else NONE.encode() if context != machine.SEPARATED else None
        if context == machine.INSIDE:
            end = self._name_end(position)
            return (
                data[position:end]
                if end > position
                else self._constraint.number_at(position) + self._type(position, context)
            )
        if context in machine.keeps_all:
            n_written = context - machine.NUMBER
            return self._constraint.number_at(position)[n_written:] + self._type(position, machine.INSIDE)
        if machine.rest[context]:
            return self._type(position, context)
        return NONE.encode() if context != machine.none else b""

    def _may_list(self, position: int) -> bool:
        return position <= self._constraint.last_open

    def _name_end(self, position: int) -> int:
        """Where the open name ends: as expected if it was, else at the end of this word."""
        ended = bisect_left(self._ends, position)
        if ended < len(self._ends) and self._starts[ended] < position:
            return self._ends[ended]
        data, edges = self._constraint.data, self._constraint.edges
        for place in range(position, self._constraint.n_bytes + 1):
            if edges[place] & CLOSE and data[place : place + 1] in WORD_ENDS:
                return place
        return position

    def _type(self, position: int, context: int) -> bytes:
        """The rest of an entry after its name, with the type that is expected there, or the first."""
        rest = self._constraint.machine.rest[context]
        ended = bisect_left(self._ends, position)
        expected = self._types[ended] if ended < len(self._ends) and self._ends[ended] == position else ""
        return (rest[expected] if expected in rest else next(iter(rest.values()))).encode()
