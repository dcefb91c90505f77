"""A bias of places for lists of names: what `place_bias` is for tags.

Where a known name begins, each token that begins it in the list gains `opening`. So does the token that goes
on to one more entry, as long as a known name is still to come. A token that says that the listed name ends
where a known one does gains `closing`, and after it each token that decides between types gains `of_type` if
the known name's type is still possible.

    "on aspirin", aspirin is listed as drug, opening 1, of_type 2, closing 3:
    `aspirin` +1, ` =` +3, ` drug` +2, and +2 for the end or `;` (and not for `_n`); `none`, `on` 0

A name that is listed stands for all its places, so only the first one counts (all count with `occurrences`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..vocabulary import Vocabulary
from .list_automaton import ListAutomaton
from .place_bias import KnownName
from .tag_machine import END, State


class ListPlaceBias:
    """Adds the names' numbers to the logits of tokens, in one sentence. names: disjoint."""

    def __init__(self, names: Iterable[KnownName], constraint: ListAutomaton, vocabulary: Vocabulary) -> None:
        machine, data = constraint.machine, constraint.data
        known = sorted(names, key=lambda name: name.start_byte)
        if not machine.names.occurrences:
            written = [data[name.start_byte : name.end_byte] for name in known]
            known = [name for n, name in enumerate(known) if written[n] not in written[:n]]
        self._constraint = constraint
        self._machine = machine
        self._token_bytes = vocabulary.token_bytes
        self._known = known
        self._at_start = {name.start_byte: name for name in known}
        self._at_end = {name.end_byte: name for name in known}

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""
        added = [
            self._certain_type(state) if after == END else self._of_token(state, token_id)
            for token_id, after in legal.items()
        ]
        return added if any(added) else None

    def _of_token(self, state: State, token_id: int) -> float:
        total = 0.0
        for byte in self._token_bytes[token_id]:
            after = self._constraint.step(state, byte)
            total += self._of_byte(state, after)
            state = after
        return total

    def _of_byte(self, before: State, after: State) -> float:
        machine = self._machine
        context, context_after = machine.context(before), machine.context(after)
        place = machine.position(after)  # outside of names: the end of the one listed last
        if context in machine.names_begin:
            return self._begun(after)
        if context_after == machine.after_entry:
            return self._certain_type(before) + self._to_come(place)
        if self._within_name(before):
            name = None if self._within_name(after) else self._at_end.get(place)
            return 0.0 if name is None else name.closing
        return self._narrowed(machine.rest[context], machine.rest[context_after], place)

    def _within_name(self, state: State) -> bool:
        """Whether the name that is being listed may still go on: after "aspirin ", `=` or `and` may come."""
        return any(context in self._machine.keeps_all for _, context in self._machine.items(state))

    def _begun(self, after: State) -> float:
        """What is added where a name has just begun, at one of several places if they begin alike."""
        items = self._machine.items(after)
        starts = [place - 1 for place, context in items if context == self._machine.INSIDE]
        return max((self._at_start[at].opening for at in starts if at in self._at_start), default=0.0)

    def _to_come(self, place: int) -> float:
        return max((name.opening for name in self._known if name.start_byte >= place), default=0.0)

    def _certain_type(self, state: State) -> float:
        """What is added where the type that is written turns out to be no longer one that begins like it."""
        context, place = self._machine.context(state), self._machine.position(state)
        written = self._machine.type_of.get(context)
        return 0.0 if written is None else self._narrowed(self._machine.rest[context], {written: ""}, place)

    def _narrowed(self, before: Mapping[str, str], now: Mapping[str, str], place: int) -> float:
        name = self._at_end.get(place)
        return name.of_type if name is not None and len(now) < len(before) and name.type in now else 0.0
