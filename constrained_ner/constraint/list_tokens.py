"""List x vocabulary: the tokens that may come next in a list of names, each with the state that it leads to.

The rules are those of `legal`. canonical: names are tokenised as the model itself tokenises them (after the
space that separates them from what is before), and so are ` = `, each type, `;` and `none`. So a name that
can only be continued in one way is not a decision. any: every token whose bytes fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from ..data import Mention
from ..vocabulary import Vocabulary
from .copy_tokens import OwnTokens
from .edges import Boundary
from .legal import END, TokenRule, encode_answer, tokens_that_fit
from .list_automaton import ListAutomaton
from .list_machine import ListMachine
from .name_list import IS, NEXT, NONE, number
from .tag_machine import DEAD, State

_N_NUMBERS = 32  # numbers whose tokens are known beforehand; higher ones are found byte by byte


class ListTokens:
    """How one vocabulary spells what is written between names. Shared by all sentences.

    spelt: context -> the tokens that continue it, as the model tokenises what is written.
    end_ids: the tokens that end an answer.
    """

    def __init__(self, machine: ListMachine, vocabulary: Vocabulary, end_ids: Iterable[int] = ()) -> None:
        self.machine = machine
        self.vocabulary = vocabulary
        self.end_ids = vocabulary.stop_ids.union(end_ids)
        self.spelt: dict[int, list[int]] = {context: [] for context in machine.texts}
        entry_ends = [IS + label for label in machine.names.labels.values()]
        for end in entry_ends:
            self._add(machine.INSIDE, end)
        for n in range(2, _N_NUMBERS) if machine.names.occurrences else ():
            for end in entry_ends:
                self._add_number(number(n), end)
        for context in machine.type_of:
            self._add(context, NEXT.rstrip())
        self._add(machine.FIRST, NONE)
        self._add(machine.START, " " + NONE)
        self._add(machine.START, NONE)
        encode = vocabulary.encode  # a cache over a method of ours would keep us alive after the last use
        self.first_token = lru_cache(maxsize=65536)(lambda text: encode(text)[0])

    def _add(self, context: int, text: str) -> None:
        for token_id in self.vocabulary.encode(text):
            if token_id not in self.spelt[context]:
                self.spelt[context].append(token_id)
            for byte in self.vocabulary.token_bytes[token_id]:
                context = self.machine.texts[context][byte]

    def _add_number(self, written: str, end: str) -> None:
        machine, at = self.machine, 0
        for token_id in self.vocabulary.encode(written):
            context = machine.NUMBER + at if at else machine.INSIDE
            if token_id not in self.spelt[context]:
                self.spelt[context].append(token_id)
            at += len(self.vocabulary.token_bytes[token_id])
        for token_id in self.vocabulary.encode(end)[:1]:
            if token_id not in self.spelt[machine.NUMBER + at]:
                self.spelt[machine.NUMBER + at].append(token_id)


class LegalListTokens:
    """The legal tokens of one sentence's list (see `legal.LegalTokenSets`)."""

    def __init__(
        self,
        constraint: ListAutomaton,
        list_tokens: ListTokens,
        rule: TokenRule = "canonical",
        boundary: Boundary = "word",
    ) -> None:
        self.constraint = constraint
        self.start = constraint.start
        self.list_tokens = list_tokens
        self.vocabulary = list_tokens.vocabulary
        self.end_ids = list_tokens.end_ids
        self.rule = rule
        self._boundary: Boundary = boundary
        self._own_tokens = OwnTokens(constraint, self.vocabulary, list_tokens.first_token)
        self._known: dict[State, dict[int, State]] = {}

    def legal(self, state: State) -> dict[int, State]:
        """The legal token ids, each with the state that it leads to. Never empty for a reachable state.

        Example: text "on iron" at its start -> the ids of b"on", b"iron", b"none" (canonical)
        """
        found = self._known.get(state)
        if found is None:
            found = self._known[state] = self._find(state)
        return found

    def copying_token(self, state: State) -> int | None:
        """None: a list copies nothing but its names, and each token of these is a choice."""
        return None

    def encode(self, mentions: Iterable[Mention]) -> Iterator[tuple[int, dict[int, State]]]:
        """See `legal.LegalTokenSets.encode`."""
        constraint = self.constraint
        answer = constraint.machine.names.write(constraint.text, mentions, self._boundary).encode()
        return encode_answer(self, b" " + answer if constraint.leading_space else answer, self.rule)

    def _find(self, state: State) -> dict[int, State]:
        found: dict[int, State] = {}
        if self.rule == "canonical":
            found = self._canonical(state)
        if not found:
            found = tokens_that_fit(self.constraint, self.vocabulary.trie, state)
        if self.constraint.accepts(state):
            found.update(dict.fromkeys(sorted(self.end_ids), END))
        return found

    def _canonical(self, state: State) -> dict[int, State]:
        token_bytes, advance = self.vocabulary.token_bytes, self.constraint.advance
        found: dict[int, State] = {}
        for position, context in self.constraint.machine.items(state):
            for token_id in self._candidates(position, context):
                if token_id not in found:
                    after = advance(state, token_bytes[token_id])
                    if after != DEAD:
                        found[token_id] = after
        return found

    def _candidates(self, position: int, context: int) -> Iterator[int]:
        constraint, own = self.constraint, self._own_tokens
        machine = constraint.machine
        yield from self.list_tokens.spelt[context]
        if context == machine.INSIDE:
            if position < constraint.last_close:
                yield from (token_id for token_id, _ in own.within_name(position))
            return
        begins = context in machine.names_begin
        for place in constraint.opens:
            if place < position:
                continue
            if begins:
                yield from (token_id for token_id, _ in own.within_name(place))
            if context == machine.START or context in machine.separators:
                yield from own.name_after_space(place)
