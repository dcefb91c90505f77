"""The legal answers for one sentence: a small automaton over bytes.

A legal answer is the sentence with tags inserted, and nothing else. At any point it can copy on, open a tag,
close the open tag, or stop at the end. Nothing is compiled per sentence. The tags of a schema are turned once
into a few dozen contexts (`tag_machine`); an item of the automaton is a position in the sentence and a
context.

A state is a tuple of items, nearly always just one. There are several only while the sentence itself spells
the beginning of a tag (`a <drug> b`), until the next bytes decide. Tags that begin alike (`<drug>`,
`<drug_n>`) share contexts and need no second item.

    constraint = Constraint("on aspirin", TagMachine(Markup(DDI)))
    constraint.accepts(constraint.advance(constraint.start, b"on <drug>aspirin</drug>"))  -> True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..data import Span
from .edges import Boundary
from .sentence_automaton import SentenceAutomaton, TaggedSpan
from .tag_machine import DEAD, END, NO_COPY, State, TagMachine, is_single, state_of

__all__ = ["DEAD", "END", "Constraint", "State", "TagMachine", "TaggedSpan", "is_single", "state_of"]


@dataclass(frozen=True, slots=True)
class _ReadTag:
    """A tag that a reading of an answer has passed, linked to the one before it.

    position: in the sentence. at: in the answer, just after the tag. context: just after the tag.
    """

    earlier: _ReadTag | None
    position: int
    at: int
    context: int


class Constraint(SentenceAutomaton):
    """The legal answers for one sentence: the sentence itself, with tags."""

    def __init__(
        self, text: str, machine: TagMachine, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> None:
        super().__init__(text, boundary=boundary, leading_space=leading_space)
        self.machine = machine
        self.start = machine.state(0, machine.START if leading_space else machine.OUTSIDE)
        self._accepting = {*machine.state(self.n_bytes, machine.OUTSIDE)}
        if not self.n_bytes:
            self._accepting.update(self.start)

    def moves(self, item: int) -> list[tuple[int, int]]:
        """The bytes that may come after one item of a state, each with the item that it leads to.

        A byte comes twice if it may be text as well as the beginning of a tag.
        """
        machine = self.machine
        position, context = divmod(item, machine.n_contexts)
        here = item - context
        found = [(byte, here + after) for byte, after in machine.tag_moves[self.edges[position]][context]]
        copied = machine.copies[context]
        if copied != NO_COPY and position < (
            self.last_close if context in machine.mention_contexts else self.n_bytes
        ):
            found.append((self.data[position], here + machine.n_contexts + copied))
        return found

    def advance(self, state: State, piece: bytes) -> State:
        """The state after all bytes of the piece; DEAD if no legal answer continues with them."""
        machine = self.machine
        if piece and len(state) == 1 and machine.tag_starts.isdisjoint(piece):
            position, context = divmod(state[0], machine.n_contexts)
            if context in machine.copying:  # it can only be text: one comparison instead of a step per byte
                end = position + len(piece)
                in_time = context == machine.OUTSIDE or end <= self.last_close
                fits = in_time and self.data.startswith(piece, position)
                return machine.state(end, machine.copies[context]) if fits else DEAD
        return super().advance(state, piece)

    def accepts(self, state: State) -> bool:
        """Whether the answer may stop here: the whole sentence copied, no tag open."""
        return not self._accepting.isdisjoint(state)

    def read(self, answer: bytes) -> tuple[TaggedSpan, ...] | None:
        """The mentions of an answer, read off the walk; None if the answer is not legal.

        If the sentence spells tags itself, an answer may have two readings. Of these, the one whose first
        differing mention opens earlier is returned.
        """
        machine = self.machine
        readings: dict[int, _ReadTag | None] = {self.start[0]: None}  # item -> the last tag read
        at = 0
        while at < len(answer) and readings:
            if len(readings) == 1:
                ((item, tag),) = readings.items()
                if item % machine.n_contexts in machine.copying and answer[at] not in machine.tag_starts:
                    plain_end = _next_tag(answer, at, machine)
                    readings = dict.fromkeys(self.advance((item,), answer[at:plain_end]), tag)
                    at = plain_end
                    continue
            longer: dict[int, _ReadTag | None] = {}
            for item, tag in readings.items():
                for byte, after in self.moves(item):
                    if byte == answer[at]:
                        read = self._read_step(item, after, at + 1, tag)
                        longer[after] = min(read, longer[after], key=_in_order) if after in longer else read
            readings = longer
            at += 1
        ends = [tag for item, tag in readings.items() if self.accepts((item,))]
        return tuple(self._tagged_spans(min(ends, key=_in_order))) if ends else None

    def _read_step(self, item: int, after: int, at: int, tag: _ReadTag | None) -> _ReadTag | None:
        """The last tag read after a step from one item to another: a new one if the step ends a tag."""
        machine = self.machine
        position, context = divmod(after, machine.n_contexts)
        opened = context in machine.type_of_fresh
        closed = context == machine.OUTSIDE and machine.copies[item % machine.n_contexts] == NO_COPY
        return _ReadTag(tag, position, at, context) if opened or closed else tag

    def _tagged_spans(self, last: _ReadTag | None) -> Iterator[TaggedSpan]:
        markup = self.machine.markup
        tags = iter(_in_order(last))
        for (start_byte, opened_at, context), (end_byte, closed_at, _) in zip(tags, tags, strict=True):
            entity_type = self.machine.type_of_fresh[context]
            span = Span(self.character_at(start_byte), self.character_at(end_byte))
            n_tag_bytes = len(markup.open_tag(entity_type).encode())
            yield TaggedSpan(entity_type, span, opened_at - n_tag_bytes, closed_at)


def _next_tag(answer: bytes, at: int, machine: TagMachine) -> int:
    """The first place from `at` on where a tag could begin, or the end."""
    places = [place for first in machine.tag_starts if (place := answer.find(first, at)) >= 0]
    return min(places, default=len(answer))


def _in_order(tag: _ReadTag | None) -> list[tuple[int, int, int]]:
    """All tags up to this one, first to last, each as (position, at, context)."""
    found: list[tuple[int, int, int]] = []
    while tag is not None:
        found.append((tag.position, tag.at, tag.context))
        tag = tag.earlier
    return found[::-1]
