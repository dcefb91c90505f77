"""The contexts of an answer that the tags of a schema give rise to, and the states made of them.

A state is a tuple of items, nearly always just one. An item is a byte position in the sentence and a context,
packed into one integer. Only this module and the automaton know how; everybody else asks `position`,
`context` and `items`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .edges import CLOSE, OPEN
from .markup import Markup

State = tuple[int, ...]
"""Sorted items, each `position * n_contexts + context`."""

DEAD: State = ()
"""No legal answer begins like this."""

END: State = (-1,)
"""The state after a stop token: at no position of the sentence."""

NO_COPY = -1


def state_of(items: Iterable[int]) -> State:
    """The state that consists of these items."""
    found = set(items)
    return tuple(found) if len(found) == 1 else tuple(sorted(found))


def is_single(state: State) -> bool:
    """Whether the state is one item, so that its position and context are certain."""
    return len(state) == 1 and state != END


class TagMachine:
    """The contexts that the tags of a schema give rise to. Shared by all sentences.

    Contexts: START (at the very beginning, where a tokenizer's own leading space may come), OUTSIDE, a FRESH
    one (tag just opened, nothing copied yet) and an INSIDE one for each type, and one for each proper prefix
    of a tag.

    copies: context -> the context after copying one byte of the sentence, or -1.
    tags: context -> {byte of a tag: (context after it, what the edge must allow: OPEN, CLOSE or 0)}.
    tag_moves: what an edge allows -> context -> ((byte of a tag, context after it), ...).
    opening: type -> the contexts after each byte of its opening tag. closing: those of all closing tags.
    mention_contexts: those in which the text of a mention is copied, FRESH and INSIDE.
    copying: those in which a byte that begins no tag can only be copied, OUTSIDE and mention_contexts.
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
        # The tokenizer's own leading space copies nothing.
        self.tags[self.START] = {**self.tags[self.OUTSIDE], ord(" "): (self.OUTSIDE, 0)}
        self.n_contexts = len(self.copies)
        self.tag_moves = [
            [
                tuple((byte, after) for byte, (after, needed) in tags.items() if allowed & needed == needed)
                for tags in self.tags
            ]
            for allowed in (0, OPEN, CLOSE, OPEN | CLOSE)
        ]
        self.type_of_fresh = {context: name for name, context in self.fresh.items()}
        self.inside_contexts = frozenset(self.inside.values())
        self.mention_contexts = self.inside_contexts.union(self.fresh.values())
        self.tag_starts = frozenset(tag.encode()[0] for tag in self.all_tags())
        self.copying = self.mention_contexts | {self.OUTSIDE}

    def all_tags(self) -> Iterator[str]:
        for entity_type in self.markup.types:
            yield self.markup.open_tag(entity_type)
            yield self.markup.close_tag(entity_type)

    def state(self, position: int, context: int) -> State:
        """The state of one item."""
        return (position * self.n_contexts + context,)

    def states_at(self, position: int, contexts: Iterable[tuple[int, int]]) -> dict[int, State]:
        """For pairs of a token id and a context: token id -> the state with that context at a position."""
        here = position * self.n_contexts
        return {token_id: (here + context,) for token_id, context in contexts}

    def states_in(self, context: int, positions: Iterable[tuple[int, int]]) -> dict[int, State]:
        """For pairs of a token id and a position: token id -> the state in that context at the position."""
        n_contexts = self.n_contexts
        return {token_id: (position * n_contexts + context,) for token_id, position in positions}

    def position(self, state: State) -> int:
        """The byte position of the state's first item: how much of the sentence has been copied."""
        return state[0] // self.n_contexts

    def context(self, state: State) -> int:
        """The context of the state's first item."""
        return state[0] % self.n_contexts

    def items(self, state: State) -> tuple[tuple[int, int], ...]:
        """The position and context of each item."""
        n_contexts = self.n_contexts
        if len(state) == 1:  # nearly always
            return (divmod(state[0], n_contexts),)
        return tuple([divmod(item, n_contexts) for item in state])

    def begins_tag(self, before: int, after: int) -> bool:
        """Whether a step from one context to another begins a tag."""
        return self.copies[before] != NO_COPY and after != self.copies[before]

    def _new_context(self) -> int:
        self.copies.append(NO_COPY)
        self.tags.append({})
        return len(self.copies) - 1

    def _spell(self, context: int, tag: str, after: int, needed: int) -> frozenset[int]:
        """Add the contexts that lead from one context through a tag to another; return those on the way."""
        *head, last = tag.encode()
        passed = [after]
        for byte in head:
            if byte not in self.tags[context]:
                self.tags[context][byte] = (self._new_context(), needed)
            context, _ = self.tags[context][byte]
            passed.append(context)
            needed = 0  # the edge was checked at the tag's first byte
        self.tags[context][last] = (after, needed)
        return frozenset(passed)
