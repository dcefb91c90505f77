"""A bias of places: numbers added to the logits of opening and closing tags where a known name stands.

It is what a list of names says about one sentence. Where a name begins, opening a tag gains `opening`, and
opening the tag of the name's own type gains `of_type` more. Where it ends, closing the open tag gains
`closing`. As with a bias per type (see `bias`), the tokens of a tag together get its number, however it is
spelt, and nothing is added before it is certain what the tag is.

    "on aspirin", aspirin is listed as drug, opening 1, of_type 2, closing 3:
    on <drug>aspirin</drug>   `<` +1, `drug` 0, `>` +2, ...; `</drug>` +3
    on <brand>aspirin</brand> `<` +1, `brand>` 0, ...; `</brand>` +3
    <group>on aspirin</group>                         `</group>` +3

Only numbers change, never what is legal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..vocabulary import Vocabulary
from .automaton import State, TagMachine, is_single
from .bias import due_in_opening_tags


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
        self._machine = machine
        self._token_bytes = vocabulary.token_bytes
        self._due: dict[int, dict[int, float]] = {}  # byte position -> context -> what is due by then
        within_closing = machine.closing - {machine.OUTSIDE}
        for name in names:
            by_type = dict.fromkeys(machine.markup.types, name.opening)
            by_type[name.type] += name.of_type
            self._due.setdefault(name.start_byte, {}).update(due_in_opening_tags(by_type, machine))
            if name.closing:
                at_end = dict.fromkeys(within_closing, name.closing)
                self._due.setdefault(name.end_byte, {}).update(at_end)

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""
        if not self._due or not is_single(state):
            return None
        added = [self._of_token(state, token_id, after) for token_id, after in legal.items()]
        return added if any(added) else None

    def _of_token(self, state: State, token_id: int, after: State) -> float:
        """What becomes due on the way through the token. A byte that can be read as part of a tag is."""
        machine = self._machine
        if not is_single(after) or machine.copies[machine.context(state)] == machine.context(after):
            return 0.0  # the end, or text: copying adds nothing
        position, context, total = machine.position(state), machine.context(state), 0.0
        for byte in self._token_bytes[token_id]:
            tag = machine.tags[context].get(byte)
            if tag is None:
                context = machine.copies[context]
                position += 1
                if context < 0:
                    return 0.0
                continue
            due = self._due.get(position, {})
            if tag[0] in due:
                total += due[tag[0]] - due.get(context, 0.0)
            context = tag[0]
        return total if machine.state(position, context) == after else 0.0
