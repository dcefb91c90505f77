"""The legal lists of names for one sentence: an automaton over bytes, like that of `automaton`.

An item is a position in the sentence and a context. Inside a name, the position is where the name has got to;
everywhere else, where the next name may begin. A state has an item for each place of the sentence that still
matches the name so far, so there are several as long as names begin alike, and if the sentence itself spells
` = ` or `; `. Outside of names, the item that has used least of the sentence allows all that the others
allow, so it is the only one that is kept. It follows that a name is read at its leftmost place.

    automaton = ListAutomaton("on aspirin", ListMachine(NameList(Markup(DDI))))
    automaton.accepts(automaton.advance(automaton.start, b"aspirin = drug"))  -> True
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

from ..data import Span
from .edges import CLOSE, OPEN, Boundary, edges
from .list_machine import ListMachine
from .name_list import number, spread, word_numbers
from .sentence_automaton import SentenceAutomaton, TaggedSpan
from .tag_machine import State


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a list: a name's place in the sentence, in bytes, and the entry's own in the answer."""

    start: int
    end: int
    type: str
    opens_at_byte: int
    closes_at_byte: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read an answer so far: the entries that have ended, and how far the next one has got.

    end: of the name of the next entry; 0 as long as it goes on.
    """

    entries: tuple[_Entry, ...] = ()
    opens_at_byte: int = 0
    start: int = 0
    end: int = 0

    def order(self) -> list[tuple[float, int]]:
        """Of two readings that come to the same, the lower is kept: its first other name ends earlier."""
        ended: list[tuple[float, int]] = [(entry.end, entry.start) for entry in self.entries]
        return [*ended, (self.end or inf, self.start)]


class ListAutomaton(SentenceAutomaton):
    """The legal lists of names for one sentence."""

    def __init__(
        self, text: str, machine: ListMachine, *, boundary: Boundary = "word", leading_space: bool = False
    ) -> None:
        super().__init__(text, boundary=boundary, leading_space=leading_space)
        self.machine = machine
        self.start = (machine.START if leading_space else machine.FIRST,)
        self.opens = [place for place, flags in enumerate(self.edges) if flags & OPEN]
        self.last_open = max(self.opens, default=-1)
        self._opens_with: dict[int, list[int]] = {}  # first byte of a word -> where such words begin
        for place in self.opens:
            self._opens_with.setdefault(self.data[place], []).append(place)
        self._places = edges(text, boundary)
        self._numbers: dict[int, bytes] = {}
        if machine.names.occurrences:
            ends = word_numbers(text, self._places)
            self._numbers = {self.byte_at(end): number(n).encode() for end, n in ends.items() if n > 1}

    def number_at(self, position: int) -> bytes:
        """The number that an entry needs if its name ends here; empty if it needs none."""
        return self._numbers.get(position, b"")

    def moves(self, item: int) -> list[tuple[int, int]]:
        """The bytes that may come after one item of a state, each with the item that it leads to."""
        machine = self.machine
        position, context = divmod(item, machine.n_contexts)
        if context in machine.keeps_all:
            return self._within_name(position, context)
        found = self._between_names(position, context)
        if context in machine.names_begin:
            found += [
                (self.data[place], self._begun(place))
                for place in self.opens[bisect_left(self.opens, position) :]
            ]
        return found

    def step(self, state: State, byte: int) -> State:
        """The state after one more byte; DEAD if no legal answer continues with it."""
        machine = self.machine
        found: list[int] = []
        for position, context in machine.items(state):
            if context in machine.keeps_all:
                moves = self._within_name(position, context)
            else:
                moves = self._between_names(position, context)
            found += [after for move, after in moves if move == byte]
            if context in machine.names_begin:  # of all words, only those that begin like this
                places = self._opens_with.get(byte, [])
                found += map(self._begun, places[bisect_left(places, position) :])
        return self.state(found)

    def _begun(self, place: int) -> int:
        """The item after the first byte of a name that begins here."""
        return (place + 1) * self.machine.n_contexts + self.machine.INSIDE

    def _between_names(self, position: int, context: int) -> list[tuple[int, int]]:
        machine = self.machine
        here = position * machine.n_contexts
        return [
            (byte, here + after)
            for byte, after in machine.texts[context].items()
            if after != machine.after_entry or position <= self.last_open
        ]

    def _within_name(self, position: int, context: int) -> list[tuple[int, int]]:
        machine = self.machine
        here = position * machine.n_contexts
        found: list[tuple[int, int]] = []
        n_written = 0 if context == machine.INSIDE else context - machine.NUMBER
        if n_written or self.edges[position] & CLOSE:
            to_write = self.number_at(position)[n_written:]
            if to_write:
                found.append((to_write[0], here + machine.NUMBER + n_written + 1))
            else:
                found += [(byte, here + after) for byte, after in machine.texts[machine.INSIDE].items()]
        if not n_written and position < self.last_close:
            found.append((self.data[position], here + machine.n_contexts + machine.INSIDE))
        return found

    def state(self, items: Iterable[int]) -> State:
        """The state that consists of these items, without those that another one covers."""
        found = sorted(set(items))
        if len(found) < 2:
            return tuple(found)
        machine = self.machine
        kept: list[int] = []
        covered: set[int] = set()
        for item in found:  # the one that has used least of the sentence comes first
            context = item % machine.n_contexts
            if context not in covered:
                kept.append(item)
                if context not in machine.keeps_all:
                    covered.add(context)
        return tuple(kept)

    def accepts(self, state: State) -> bool:
        """Whether the answer may stop here: after an entry, or after `none`."""
        machine = self.machine
        return any(
            context == machine.none or context in machine.type_of for _, context in machine.items(state)
        )

    def read(self, answer: bytes) -> tuple[TaggedSpan, ...] | None:
        """The mentions of an answer, in the order of its entries; None if the answer is not legal.

        Each name is at its leftmost place after the one before, and at all other places that are free, unless
        entries stand for one place. If the sentence itself spells what separates entries, an answer may have
        several readings: of those that leave as much of the sentence for the next name, the one counts whose
        first other name ends earlier.
        """
        readings: dict[int, _Reading] = {self.start[0]: _Reading()}
        for at, byte in enumerate(answer):
            longer: dict[int, _Reading] = {}
            for item, reading in readings.items():
                for move, after in self.moves(item):
                    if move == byte:
                        read = self._read_step(item, after, at, reading)
                        known = longer.get(after)
                        longer[after] = read if known is None else min(known, read, key=_Reading.order)
            readings = {item: longer[item] for item in self.state(longer)}
            if not readings:
                return None
        ends = [self._ended(item, len(answer), reading) for item, reading in readings.items()]
        entries = [entries for entries in ends if entries is not None]
        return tuple(self._tagged_spans(entries[0])) if entries else None

    def _read_step(self, item: int, after: int, at: int, reading: _Reading) -> _Reading:
        machine = self.machine
        position, context = divmod(item, machine.n_contexts)
        position_after, context_after = divmod(after, machine.n_contexts)
        if context in machine.names_begin and context_after == machine.INSIDE:
            return replace(reading, start=position_after - 1)
        if context in machine.keeps_all and context_after not in machine.keeps_all:
            return replace(reading, end=position)
        if context_after == machine.after_entry:
            return _Reading(self._ended(item, at, reading) or (), opens_at_byte=at)
        return reading

    def _ended(self, item: int, at: int, reading: _Reading) -> tuple[_Entry, ...] | None:
        """The entries of a reading that ends here; None if it cannot."""
        context = item % self.machine.n_contexts
        if context == self.machine.none:
            return ()
        entity_type = self.machine.type_of.get(context)
        if entity_type is None:
            return None
        entry = _Entry(reading.start, reading.end, entity_type, reading.opens_at_byte, at)
        return (*reading.entries, entry)

    def _tagged_spans(self, entries: tuple[_Entry, ...]) -> Iterator[TaggedSpan]:
        listed = [
            (entry.type, Span(self.character_at(entry.start), self.character_at(entry.end)))
            for entry in entries
        ]
        places = (
            [(n, *pair) for n, pair in enumerate(listed)]
            if self.machine.names.occurrences
            else sorted(spread(listed, self.text, self._places))
        )
        for n, entity_type, span in places:
            yield TaggedSpan(entity_type, span, entries[n].opens_at_byte, entries[n].closes_at_byte)
