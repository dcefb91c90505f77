"""The legal lists of names for one sentence as words and rules, before any dialect.

Two rules a word: the next name begins at this word or at a later one; and this word is in a name, which goes
on with the next word, or ends with its type. So rules refer to later ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..list_automaton import ListAutomaton
from ..name_list import IS, NEXT, NONE
from .language import Alternative, Word, words


@dataclass(frozen=True, slots=True)
class ListRule:
    """The name of a rule. next: before a name, which begins at this word or later. name: after this word of
    a name."""

    kind: Literal["next", "name"]
    word: int


ListRules = dict[ListRule, tuple[Alternative[ListRule], ...]]


def list_words(constraint: ListAutomaton) -> list[tuple[Word, str]]:
    """The words of the sentence in order, each with the number that an entry needs if its name ends there."""
    found, _ = words(constraint)
    numbered: list[tuple[Word, str]] = []
    end = 0
    for word in found:
        end += len((word.gap + word.core).encode())
        numbered.append((word, constraint.number_at(end).decode()))
    return numbered


def list_rules(constraint: ListAutomaton) -> tuple[tuple[Alternative[ListRule], ...], ListRules]:
    """The ways to begin, and all rules.

    Example: "on iron" -> "none" | next-0, {
        next-0: "on" then name-0 | next-1,
        name-0: " iron" then name-1 | " = drug" | " = drug; " then next-1,
        next-1: "iron" then name-1,
        name-1: " = drug"}
    """
    found = list_words(constraint)
    last = len(found) - 1
    every: ListRules = {}
    for at, (word, number) in enumerate(found):
        begun = Alternative(word.core, ListRule("name", at))
        later = [Alternative("", ListRule("next", at + 1))] if at < last else []
        every[ListRule("next", at)] = (begun, *later)
        ends = [number + IS + label for label in constraint.machine.names.labels.values()]
        ways: list[Alternative[ListRule]] = [Alternative(end, None) for end in ends]
        if at < last:
            following = found[at + 1][0]
            ways += [Alternative(end + NEXT, ListRule("next", at + 1)) for end in ends]
            ways.append(Alternative(following.gap + following.core, ListRule("name", at + 1)))
        every[ListRule("name", at)] = tuple(ways)
    none: Alternative[ListRule] = Alternative(NONE, None)
    return ((none, Alternative("", ListRule("next", 0))) if found else (none,)), every
