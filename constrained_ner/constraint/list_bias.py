"""A bias per type for lists of names: what `bias` is for tags.

The decision to list one more name comes before its type. So what the types' numbers have in common (the one
nearest to zero if all have the same sign, else nothing) is added where an entry begins, and the rest of a
type's number where the type is written, as soon as the tokens tell it from the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import SchemaError
from ..vocabulary import Vocabulary
from .bias import common
from .list_machine import ListMachine
from .tag_machine import END, State

END_CONTEXT = -1


class ListBias:
    """Adds the types' numbers to the logits of tokens. Shared by all sentences.

    Raises SchemaError for a type that is not in the schema.
    """

    def __init__(self, by_type: Mapping[str, float], machine: ListMachine, vocabulary: Vocabulary) -> None:
        types = machine.markup.types
        for name in by_type:
            if name not in types:
                raise SchemaError(f"bias for {name!r}: the schema's types are {', '.join(types)}")
        self._machine = machine
        self._numbers = {name: by_type.get(name, 0.0) for name in types}
        self._common = common(list(self._numbers.values()))
        # context -> what is due once it is reached: what its possible types have in common
        self._due = {
            context: common([self._numbers[name] for name in rest])
            for context, rest in machine.rest.items()
            if rest
        }

    def of(self, state: State, legal: Mapping[int, State]) -> list[float] | None:
        """The number to add to each legal token's logit, in their order; None if all are 0."""
        if not any(self._numbers.values()):
            return None
        machine = self._machine
        before = machine.context(state)
        added = [self._of_step(before, after) for after in legal.values()]
        return added if any(added) else None

    def _of_step(self, before: int, after: State) -> float:
        machine, due = self._machine, self._due
        context = END_CONTEXT if after == END else machine.context(after)
        if before in machine.names_begin:
            return self._common if context == machine.INSIDE else 0.0
        entity_type = machine.type_of.get(before)
        if entity_type is not None and (context == END_CONTEXT or context in machine.separators):
            # Only now is it certain that the type is not a longer one that begins like it.
            certain = self._numbers[entity_type] - due[before]
            return certain if context == END_CONTEXT else certain + self._common
        return due[context] - due[before] if before in due and context in due else 0.0
