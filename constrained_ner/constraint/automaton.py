"""Which answers are legal for one sentence: a small automaton over bytes.

A legal answer is the sentence itself with tags inserted, and nothing else. At any point one may go on
copying, open a tag, close the open tag, or stop at the end. Nothing is compiled per sentence: the tags of a
schema make a machine of a few dozen contexts once (`TagMachine`), and an item of the automaton is a context
and a position in the sentence, packed into one integer.

A state is a tuple of items: nearly always of one. Only where the sentence itself spells the beginning of a
tag (`a <drug> b`) are there several, until the following bytes decide. Tags that begin alike (`<drug>`,
`<drug_n>`) share their contexts and need no second item.

    constraint = Constraint("on aspirin", TagMachine(Markup(DDI)))
    constraint.accepts(constraint.advance(constraint.start, b"on <drug>aspirin</drug>"))  -> True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..data import Mention, Provenance, Span
from ..errors import SentenceError
from .edges import CLOSE, OPEN, Boundary, edges
from .markup import Markup

State = tuple[int, ...]
"""Sorted items, `position * n_contexts + context` each; () is dead."""

DEAD: State = ()
_NO_COPY = -1


class TagMachine:
    """The contexts that the tags of a schema make, for every sentence.

    Contexts: START (before anything, where a tokenizer's own leading space may come), OUTSIDE, for each type
    a FRESH one (tag just opened, nothing copied yet) and an INSIDE one, and one for each proper prefix of a
    tag.

    copies: context -> the context after copying one byte of the sentence, or -1.
    tags: context -> {byte of a tag: (context after it, what the place must allow: OPEN, CLOSE or 0)}.
    opening: type -> the contexts after each byte of its opening tag. closing: those of all closing tags.
    """

    START, OUTSIDE = 0, 1

    def __init__(self, markup: Markup) -> None:
        self.markup = markup
        self.copies: list[int] = [self.OUTSIDE, self.OUTSIDE]
        self.tags: list[dict[int, tuple[int, int]]] = [{}, {}]
        self.fresh: dict[str, int] = {}
        self.inside: dict[str, int] = {}
        self.opening: dict[str, frozenset[int]] = {}
        self.closing: frozenset[int] = frozenset()
        for entity_type in markup.types:
            inside = self._new_context()
            fresh = self._new_context()
            self.copies[inside] = self.copies[fresh] = inside
            self.fresh[entity_type], self.inside[entity_type] = fresh, inside
            self.opening[entity_type] = self._spell(self.OUTSIDE, markup.open_tag(entity_type), fresh, OPEN)
            self.closing |= self._spell(inside, markup.close_tag(entity_type), self.OUTSIDE, CLOSE)
        # A leading space of the tokenizer's own counts for nothing.
        self.tags[self.START] = {**self.tags[self.OUTSIDE], ord(" "): (self.OUTSIDE, 0)}
        self.n_contexts = len(self.copies)
        self.type_of_fresh = {context: name for name, context in self.fresh.items()}
        self.inside_contexts = frozenset(self.inside.values())
        self.tag_starts = frozenset(tag.encode()[0] for tag in self.all_tags())

    def all_tags(self) -> Iterator[str]:
        for entity_type in self.markup.types:
            yield self.markup.open_tag(entity_type)
            yield self.markup.close_tag(entity_type)

    def _new_context(self) -> int:
        self.copies.append(_NO_COPY)
        self.tags.append({})
        return len(self.copies) - 1

    def _spell(self, context: int, tag: str, after: int, needed: int) -> frozenset[int]:
        """Add the contexts that lead from one context through a tag to another; returns those on the way."""
        *head, last = tag.encode()
        passed = [after]
        for byte in head:
            if byte not in self.tags[context]:
                self.tags[context][byte] = (self._new_context(), needed)
            context, _ = self.tags[context][byte]
            passed.append(context)
            needed = 0  # the place was checked when the tag began
        self.tags[context][last] = (after, needed)
        return frozenset(passed)


@dataclass(frozen=True, slots=True)
class TaggedSpan:
    """A mention as it was read off an answer.

    span: code points of the sentence.
    opens_at_byte, closes_at_byte: where in the answer its opening tag begins and its closing tag ends.
    """

    type: str
    span: Span
    opens_at_byte: int
    closes_at_byte: int

    def mention(self, text: str, provenance: Provenance = "constrained") -> Mention:
        """The mention in the sentence with this text."""
        return Mention((self.span,), self.type, text[self.span.start : self.span.end], provenance=provenance)


class Constraint:
    """The legal answers for one sentence.

    boundary: where mentions may start and end (see `edges`).
    leading_space: one space before the answer is allowed and counts for nothing.
    """

    def __init__(
        self, text: str, machine: TagMachine, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> None:
        try:
            self.data = text.encode()
        except UnicodeEncodeError as error:
            raise SentenceError(f"character {error.start} is a lone surrogate: not Unicode text") from None
        self.text = text
        self.machine = machine
        self.n_bytes = len(self.data)
        self.edges = _at_bytes(edges(text, boundary), text)
        # Past its last place to close, a mention could never end: copying on inside stops there.
        self.last_close = max(self.edges.rfind(CLOSE), self.edges.rfind(OPEN | CLOSE))
        self.start: State = (TagMachine.START if leading_space else TagMachine.OUTSIDE,)

    def item(self, context: int, position: int) -> int:
        return position * self.machine.n_contexts + context

    def step(self, state: State, byte: int) -> State:
        """The state after one more byte; DEAD if no legal answer goes on so."""
        if len(state) == 1:
            return tuple(sorted(self._moves(state[0], byte)))
        return tuple(sorted({move for item in state for move in self._moves(item, byte)}))

    def _moves(self, item: int, byte: int) -> list[int]:
        machine = self.machine
        position, context = divmod(item, machine.n_contexts)
        moves = []
        tag = machine.tags[context].get(byte)
        if tag is not None and self.edges[position] & tag[1] == tag[1]:
            moves.append(item - context + tag[0])
        copied = machine.copies[context]
        if (
            copied != _NO_COPY
            and position < self.n_bytes
            and self.data[position] == byte
            and (context not in machine.inside_contexts or position < self.last_close)
        ):
            moves.append(item - context + machine.n_contexts + copied)
        return moves

    def next_bytes(self, state: State) -> dict[int, State]:
        """Every byte that may come next, with the state that it leads to."""
        machine = self.machine
        candidates: set[int] = set()
        for item in state:
            position, context = divmod(item, machine.n_contexts)
            candidates.update(machine.tags[context])
            if position < self.n_bytes:
                candidates.add(self.data[position])
        return {byte: after for byte in sorted(candidates) if (after := self.step(state, byte))}

    def advance(self, state: State, piece: bytes) -> State:
        """The state after all bytes of the piece; DEAD if no legal answer goes on so."""
        if len(state) == 1 and self.machine.tag_starts.isdisjoint(piece):
            return self._copy(state[0], piece)
        for byte in piece:
            state = self.step(state, byte)
            if not state:
                break
        return state

    def _copy(self, item: int, piece: bytes) -> State:
        """`advance` where the piece cannot be part of a tag: one comparison instead of a step per byte."""
        machine = self.machine
        position, context = divmod(item, machine.n_contexts)
        copied = machine.copies[context]
        end = position + len(piece)
        if copied == _NO_COPY or context == TagMachine.START or not self.data.startswith(piece, position):
            state: State = (item,)
            for byte in piece:
                state = self.step(state, byte)
            return state
        if copied in machine.inside_contexts and end > self.last_close:
            return DEAD
        return (end * machine.n_contexts + copied,)

    def accepts(self, state: State) -> bool:
        """Whether the answer may stop here: the whole sentence copied, no tag open."""
        end = self.n_bytes * self.machine.n_contexts
        return end + TagMachine.OUTSIDE in state or (not self.n_bytes and TagMachine.START in state)

    def read(self, answer: bytes) -> tuple[TaggedSpan, ...] | None:
        """The mentions of an answer, read off the walk; None if the answer is not legal.

        Where the sentence spells tags itself an answer may be readable in two ways; it is read in the way
        that opens its first differing mention first.
        """
        machine, n = self.machine, self.machine.n_contexts
        # item -> the openings and closings so far: (position, answer offset after the tag, context), flat
        walks: dict[int, tuple[int, ...]] = {self.start[0]: ()}
        at = 0
        while at < len(answer) and walks:
            if len(walks) == 1:
                ((item, walk),) = walks.items()
                skip = _until_tag(answer, at, machine)
                if skip > at and machine.copies[item % n] != _NO_COPY and item % n != TagMachine.START:
                    walks = dict.fromkeys(self._copy(item, answer[at:skip]), walk)
                    at = skip
                    continue
            after_byte: dict[int, tuple[int, ...]] = {}
            for item, walk in walks.items():
                for move in self._moves(item, answer[at]):
                    context = move % n
                    opened = context in machine.type_of_fresh
                    closed = context == TagMachine.OUTSIDE and machine.copies[item % n] == _NO_COPY
                    longer = (*walk, move // n, at + 1, context) if opened or closed else walk
                    after_byte[move] = min(longer, after_byte.get(move, longer))
            walks = after_byte
            at += 1
        ends = [walk for item, walk in walks.items() if self.accepts((item,))]
        return tuple(self._tagged_spans(min(ends))) if ends else None

    def _tagged_spans(self, walk: tuple[int, ...]) -> Iterator[TaggedSpan]:
        markup = self.machine.markup
        for first in range(0, len(walk), 6):
            start_byte, opened, fresh, end_byte, closed, _ = walk[first : first + 6]
            entity_type = self.machine.type_of_fresh[fresh]
            span = Span(self.character_at(start_byte), self.character_at(end_byte))
            yield TaggedSpan(entity_type, span, opened - len(markup.open_tag(entity_type).encode()), closed)

    def character_at(self, position: int) -> int:
        """The code point offset of a byte position that lies between two characters."""
        return position if self.n_bytes == len(self.text) else len(self.data[:position].decode())


def _until_tag(answer: bytes, at: int, machine: TagMachine) -> int:
    """The first place from `at` on where a tag could begin, or the end."""
    places = [place for first in machine.tag_starts if (place := answer.find(first, at)) >= 0]
    return min(places, default=len(answer))


def _at_bytes(flags: bytes, text: str) -> bytes:
    """Flags per place between characters -> per place between bytes; nothing may stand inside a character."""
    if text.isascii():
        return flags
    expanded = bytearray()
    for flag, character in zip(flags, text, strict=False):
        expanded.append(flag)
        expanded.extend(bytes(len(character.encode()) - 1))
    expanded.append(flags[-1])
    return bytes(expanded)
