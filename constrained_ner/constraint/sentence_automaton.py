"""What the automata of all forms of the answer share: a sentence as bytes, its edges, and how states step.

A form of the answer (`automaton`: tags; `list_automaton`: a list of names) says which bytes may follow an
item of a state (`moves`), where an answer begins and may end, and how one is read. Whatever needs no more
than that, such as the walk of a vocabulary's trie, works with every form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..data import Mention, Provenance, Span
from ..errors import SentenceError
from .edges import CLOSE, OPEN, Boundary, edges
from .tag_machine import State, state_of


@dataclass(frozen=True, slots=True)
class TaggedSpan:
    """A mention read off an answer.

    span: code points of the sentence.
    opens_at_byte, closes_at_byte: where in the answer that begins and ends which writes it: its tags, or its
        entry in a list.
    """

    type: str
    span: Span
    opens_at_byte: int
    closes_at_byte: int

    def mention(self, text: str, provenance: Provenance = "constrained") -> Mention:
        """The mention in the sentence with this text."""
        return Mention((self.span,), self.type, text[self.span.start : self.span.end], provenance=provenance)


class SentenceAutomaton(ABC):
    """The legal answers for one sentence, byte by byte.

    boundary: where mentions may start and end (see `edges`).
    leading_space: allow one space before the answer that is not part of it.
    start: the state before the first byte.
    last_close: the last place where a mention may close; one that is still open after it could never end.
    """

    start: State

    def __init__(self, text: str, *, boundary: Boundary = "word", leading_space: bool = False) -> None:
        try:
            self.data = text.encode()
        except UnicodeEncodeError as error:
            raise SentenceError(f"character {error.start} is a lone surrogate: not Unicode text") from None
        self.text = text
        self.boundary: Boundary = boundary
        self.leading_space = leading_space
        self.n_bytes = len(self.data)
        self.edges = _at_bytes(edges(text, boundary), text)
        self.last_close = max(self.edges.rfind(CLOSE), self.edges.rfind(OPEN | CLOSE))

    @abstractmethod
    def moves(self, item: int) -> list[tuple[int, int]]:
        """The bytes that may come after one item of a state, each with the item that it leads to.

        A byte comes several times if it can be read in several ways.
        """

    @abstractmethod
    def accepts(self, state: State) -> bool:
        """Whether the answer may stop here."""

    @abstractmethod
    def read(self, answer: bytes) -> tuple[TaggedSpan, ...] | None:
        """The mentions of an answer, read off the walk; None if the answer is not legal."""

    def state(self, items: Iterable[int]) -> State:
        """The state that consists of these items."""
        return state_of(items)

    def step(self, state: State, byte: int) -> State:
        """The state after one more byte; DEAD if no legal answer continues with it."""
        return self.state(after for item in state for move, after in self.moves(item) if move == byte)

    def next_bytes(self, state: State) -> dict[int, State]:
        """Every byte that may come next, with the state that it leads to."""
        items: dict[int, list[int]] = {}
        for item in state:
            for byte, after in self.moves(item):
                items.setdefault(byte, []).append(after)
        return {byte: self.state(items[byte]) for byte in sorted(items)}

    def advance(self, state: State, piece: bytes) -> State:
        """The state after all bytes of the piece; DEAD if no legal answer continues with them."""
        for byte in piece:
            state = self.step(state, byte)
            if not state:
                break
        return state

    @cached_property
    def _character_starts(self) -> list[int]:
        """The byte position of each character, and of the end."""
        return [at for at, byte in enumerate(self.data) if byte & 0xC0 != 0x80] + [self.n_bytes]

    def character_at(self, position: int) -> int:
        """The code point offset of a byte position between two characters."""
        return position if self.text.isascii() else bisect_left(self._character_starts, position)

    def byte_at(self, offset: int) -> int:
        """The byte position of a code point offset: the inverse of `character_at`."""
        return offset if self.text.isascii() else self._character_starts[offset]


def _at_bytes(flags: bytes, text: str) -> bytes:
    """Flags for the places between characters -> for those between bytes, with 0 inside a character."""
    if text.isascii():
        return flags
    expanded = bytearray()
    for flag, character in zip(flags, text, strict=False):
        expanded.append(flag)
        expanded.extend(bytes(len(character.encode()) - 1))
    expanded.append(flags[-1])
    return bytes(expanded)
