"""The contexts of a list of names, and the states made of them: what `tag_machine` is for tags."""

from __future__ import annotations

from collections.abc import Iterator

from .name_list import IS, NEXT, NONE, NameList, number
from .tag_machine import State

_LONGEST_NUMBER = len(number(10**6 - 1))


class ListMachine:
    """The contexts of a list of names. Shared by all sentences.

    Contexts: START (at the very beginning, where a tokenizer's own leading space may come), FIRST (of the
    first entry, or `none`), SEPARATED (before a later entry's name), INSIDE a name, and one for each proper
    prefix of what is written between names. NUMBER, NUMBER + 1, ...: after so many bytes of an entry's
    number.

    texts: context -> {byte that is not of the sentence: context after it}.
    typed: type -> the context at the end of an entry of this type. type_of: the inverse.
    none: the context after `none`. rest: context -> type -> what is still to be written of an entry.
    """

    START, FIRST, SEPARATED, INSIDE, NUMBER = range(5)

    def __init__(self, names: NameList) -> None:
        self.names = names
        self.markup = names.markup
        self.n_contexts = self.NUMBER + _LONGEST_NUMBER + 1
        self.texts: dict[int, dict[int, int]] = {context: {} for context in range(self.n_contexts)}
        self.rest: dict[int, dict[str, str]] = {context: {} for context in range(self.n_contexts)}
        self.none = self._spell(self.FIRST, NONE)
        self.typed = {
            name: self._spell(self.INSIDE, IS + label, name) for name, label in names.labels.items()
        }
        self.type_of = {context: name for name, context in self.typed.items()}
        self.after_entry = self.n_contexts  # the first byte of NEXT
        for context in self.typed.values():
            self._spell(context, NEXT, to=self.SEPARATED, first=self.after_entry)
        self.separators = frozenset(self._on_the_way(self.after_entry))
        self.texts[self.START] = {**self.texts[self.FIRST], ord(" "): self.FIRST}
        self.names_begin = frozenset((self.START, self.FIRST, self.SEPARATED))
        self.keeps_all = frozenset(range(self.INSIDE, self.NUMBER + _LONGEST_NUMBER + 1))

    def _spell(
        self,
        context: int,
        text: str,
        entity_type: str = "",
        *,
        to: int | None = None,
        first: int | None = None,
    ) -> int:
        """Add the contexts that lead from one context through a text; return the last one."""
        data = text.encode()
        for at, byte in enumerate(data):
            if entity_type:
                self.rest[context][entity_type] = data[at:].decode()
            known = self.texts[context].get(byte)
            if known is None:
                last = at == len(data) - 1
                known = to if last and to is not None else first if at == 0 and first is not None else None
                if known is None:
                    known = self.n_contexts
                if known not in self.texts:
                    self.texts[known], self.rest[known] = {}, {}
                    self.n_contexts += 1
                self.texts[context][byte] = known
            context = known
        if entity_type:
            self.rest[context][entity_type] = ""
        return context

    def _on_the_way(self, context: int) -> Iterator[int]:
        while context != self.SEPARATED:
            yield context
            (context,) = self.texts[context].values()

    def position(self, state: State) -> int:
        """The byte position of the state's first item."""
        return state[0] // self.n_contexts

    def context(self, state: State) -> int:
        """The context of the state's first item."""
        return state[0] % self.n_contexts

    def items(self, state: State) -> list[tuple[int, int]]:
        """The position and context of each item."""
        return [divmod(item, self.n_contexts) for item in state]
