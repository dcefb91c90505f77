"""Lists of names for tests: machines, random answers, and an independent judge of what is legal."""

from __future__ import annotations

import re
from random import Random

from constrained_ner.constraint.edges import CLOSE, OPEN, Boundary, edges
from constrained_ner.constraint.list_automaton import ListAutomaton
from constrained_ner.constraint.list_machine import ListMachine
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.name_list import NameList, word_numbers
from constrained_ner.schema import DDI, EntityType, Schema

SHORT = Schema(name="short", types=tuple(EntityType(name=name) for name in ("a", "ab", "a-b")))
"""Types that are prefixes of one another."""

LISTS = ListMachine(NameList(Markup(DDI)))
NUMBERED = ListMachine(NameList(Markup(DDI), occurrences=True))
SHORT_LISTS = ListMachine(NameList(Markup(SHORT)))
SHORT_NUMBERED = ListMachine(NameList(Markup(SHORT), occurrences=True))

SPELLS_LISTS = [
    "x = drug; y",
    "none",
    "none = drug",
    "a = a; a = a; a",
    "iron (2) = drug; iron (2)",
    "; = ; drug",
    "aspirin aspirin aspirin = drug; aspirin",
]
"""Sentences that spell what separates entries."""


def random_list(chance: Random, automaton: ListAutomaton) -> bytes:
    """A random walk over legal bytes to the end. Fails on a dead end."""
    state, answer = automaton.start, bytearray()
    while True:
        following = automaton.next_bytes(state)
        if automaton.accepts(state) and (not following or chance.random() < 0.4):
            return bytes(answer)
        assert following, f"dead end after {bytes(answer)!r}"
        byte = chance.choice(list(following))
        answer.append(byte)
        state = following[byte]


def is_list(answer: str, text: str, machine: ListMachine, boundary: Boundary) -> bool:
    """Whether an answer is legal: by trying every way to cut it into entries and to place its names."""
    flags = edges(text, boundary)
    numbers = word_numbers(text, flags) if machine.names.occurrences else {}
    labels = "|".join(map(re.escape, machine.names.labels.values()))

    def fits(rest: str, floor: int) -> bool:
        for match in re.finditer(rf" = ({labels})(?=;|\Z)", rest):
            written, after = rest[: match.start()], rest[match.end() :]
            for start in range(floor, len(text)):
                if not flags[start] & OPEN:
                    continue
                for end in range(start + 1, len(text) + 1):
                    n = numbers.get(end, 1)
                    name = text[start:end] + (f" ({n})" if n > 1 else "")
                    if not flags[end] & CLOSE or name != written:
                        continue
                    if not after or (after.startswith("; ") and fits(after[2:], end)):
                        return True
        return False

    return answer == "none" or fits(answer, 0)
