"""Names that are each given once: one that repeats is numbered."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class NumberedNames:
    """Gives names, each once.

    separator: stands before the number. Example with "-": "a", "a", "a" -> "a", "a-2", "a-3"
    """

    separator: str
    _given: set[int] = field(default_factory=set)  # hashes, for the names of an input of any size
    _last: dict[str, int] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return hash(name) in self._given

    def of(self, name: str) -> str:
        """The name, or the first numbered one that is still free."""
        number, free = self._last.get(name, 1), name
        while free in self:
            number += 1
            free = f"{name}{self.separator}{number}"
        if free != name:
            self._last[name] = number  # a name that repeats often is not searched for from the beginning
        self._given.add(hash(free))
        return free
