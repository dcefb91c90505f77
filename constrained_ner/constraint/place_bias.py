"""A bias of places: numbers added to the logits of opening and closing tags where a known name stands.

It is what a list of names says about one sentence. Where a name begins, the token that begins a tag gains
`opening`. Each token that decides between types gains `of_type` if the name's own type is still possible
after it. Where the name ends, the token that begins a closing tag gains `closing`.

    "on aspirin", aspirin is listed as drug, opening 1, of_type 2, closing 3:
    `<` +1, `drug` +2, `>` +2 (and not `_n>`), ...; `brand` and `group` 0; `</` at the end +3
    <drug> as one token: +3, <brand> as one token: +1

So the numbers are those of decisions. With tags of several tokens, the list says nothing of whether one opens
unless `opening` does; a tag that is one token decides both at once. Only numbers change, never what is legal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..vocabulary import Vocabulary
from .automaton import State, TagMachine, is_single


@dataclass(frozen=True, slots=True)
class KnownName:
    """A known name in a sentence, and what it adds.

    start_byte, end_byte: half-open, in UTF-8 bytes of the sentence.
    """

    start_byte: int
    end_byte: int
    type: str
    opening: float = 0.0
    of_type: float = 0.0
    closing: float = 0.0


class PlaceBias:
    """Adds the names' numbers to the logits of tokens, in one sentence. names: disjoint."""

    def __init__(self, names: Iterable[KnownName], machine: TagMachine, vocabulary: Vocabulary) -> None:
        known = list(names)
        self._machine = machine
        self._token_bytes = vocabulary.token_bytes
        self._at_start = {name.start_byte: name for name in known}
        self._at_end = {name.end_byte: name for name in known}
        types = machine.markup.types
        on_the_way = frozenset().union(*machine.opening.values())
        self._possible = {c: {t for t in types if c in machine.opening[t]} for c in on_the_way}
        self._any_type = set(types)

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""
        if not is_single(state):
            return None
        added = [self._of_token(state, token_id, after) for token_id, after in legal.items()]
        return added if any(added) else None

    def _of_token(self, state: State, token_id: int, after: State) -> float:
        """What the names add to one token. A byte that can be read as part of a tag is."""
        machine = self._machine
        if not is_single(after) or machine.copies[machine.context(state)] == machine.context(after):
            return 0.0  # the end, or text: copying adds nothing
        position, context = machine.position(state), machine.context(state)
        begun, of_type = 0.0, 0.0
        for byte in self._token_bytes[token_id]:
            tag = machine.tags[context].get(byte)
            if tag is None:
                context = machine.copies[context]
                position += 1
                if context < 0:
                    return 0.0
                continue
            name = self._at_start.get(position)
            if tag[0] in self._possible and name is not None:
                begun += name.opening if context not in self._possible else 0.0
                before, now = self._possible.get(context, self._any_type), self._possible[tag[0]]
                if now != before:
                    of_type = name.of_type if name.type in now else 0.0
            elif context in machine.inside_contexts and position in self._at_end:
                begun += self._at_end[position].closing
            context = tag[0]
        return begun + of_type if machine.state(position, context) == after else 0.0
