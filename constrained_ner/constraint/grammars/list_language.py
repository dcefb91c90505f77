"""The legal lists of names for one sentence as words and rules, before any dialect.

Three rules a word: the next name begins at this word or at a later one; this word is in a name, which goes on
with the next word, or ends with its type; and after that the list ends, or goes on. One more rule has the
types, for all words: a grammar of half the size, and of half the cost to engines that compile it. So rules
refer to later ones only, and to the types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..list_automaton import ListAutomaton
from ..name_list import IS, NEXT, NONE
from .language import Alternative, Word, words


@dataclass(frozen=True, slots=True)
class ListRule:
    """next: before a name, which begins at this word or later. name: after this word of a name. end: after
    the entry of a name that ends with this word. type: any type, for all words.
    """

    kind: Literal["next", "name", "end", "type"]
    word: int = 0


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
        type: "drug",
        next-0: "on" then name-0 | next-1,
        name-0: " = " then type, end-0 | " iron" then name-1,
        end-0: "" | "; " then next-1,
        next-1: "iron" then name-1,
        name-1: " = " then type, end-1,
        end-1: ""}
    """
    found = list_words(constraint)
    none: Alternative[ListRule] = Alternative(NONE)
    if not found:
        return (none,), {}
    types = ListRule("type")
    every: ListRules = {types: tuple(map(Alternative, constraint.machine.names.labels.values()))}
    for at, (word, number) in enumerate(found):
        # The ways on to the next word, if there is one.
        skipped: list[Alternative[ListRule]] = []
        longer: list[Alternative[ListRule]] = []
        another: list[Alternative[ListRule]] = []
        for following, _ in found[at + 1 : at + 2]:
            later = (ListRule("next", at + 1),)
            skipped.append(Alternative("", later))
            longer.append(Alternative(following.gap + following.core, (ListRule("name", at + 1),)))
            another.append(Alternative(NEXT, later))
        name, end = ListRule("name", at), ListRule("end", at)
        every[ListRule("next", at)] = (Alternative(word.core, (name,)), *skipped)
        every[name] = (Alternative(number + IS, (types, end)), *longer)
        every[end] = (Alternative(""), *another)
    return (none, Alternative("", (ListRule("next", 0),))), every
