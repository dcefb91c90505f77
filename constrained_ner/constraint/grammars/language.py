"""The legal answers for one sentence as words and rules, before any dialect.

The places for tags cut a sentence into words, each with the gap before it. A mention opens before a word and
closes after the same word or a later one; nothing else is possible. So the rules are few and flat: one for
each word outside of mentions, one for each word and type inside, and each refers to later ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ..automaton import Constraint
from ..edges import CLOSE, OPEN
from ..sentence_automaton import SentenceAutomaton

Rule = TypeVar("Rule")


@dataclass(frozen=True, slots=True)
class Word:
    """The text between two places where a mention may close: an opening tag fits between gap and core."""

    gap: str
    core: str


def words(constraint: SentenceAutomaton) -> tuple[list[Word], str]:
    """The words of the sentence in order, and what follows the last one; together they are the text.

    Example: "Beta-blockers too " -> [("", "Beta"), ("", "-"), ("", "blockers"), (" ", "too")], " "
    """
    data, edges = constraint.data, constraint.edges
    found: list[Word] = []
    done = 0
    # Each word has exactly one place to open: between two of them there is always a place to close.
    opens = [place for place, edge in enumerate(edges) if edge & OPEN]
    closes = [place for place, edge in enumerate(edges) if edge & CLOSE]
    for start, end in zip(opens, closes, strict=True):
        found.append(Word(data[done:start].decode(), data[start:end].decode()))
        done = end
    return found, data[done:].decode()


@dataclass(frozen=True, slots=True)
class Nonterminal:
    """The name of a rule: a place in the answer with more than one way to continue.

    entity_type: the type of the open mention; None outside of mentions.
    """

    entity_type: str | None
    word: int


@dataclass(frozen=True, slots=True)
class Alternative(Generic[Rule]):
    """One way to continue: text, then other rules in order; none at the end of the answer."""

    text: str
    then: tuple[Rule, ...] = ()


Rules = dict[Nonterminal, tuple[Alternative[Nonterminal], ...]]


def rules(constraint: Constraint) -> tuple[Alternative[Nonterminal], Rules]:
    """The way to the first rule, and all rules; each refers to later ones only.

    Example: "on iron" -> "" then out-0, {
        out-0: "on " then out-1 | "<drug>on" then in-drug-0,
        in-drug-0: "</drug> " then out-1 | " iron</drug>",
        out-1: "iron" | "<drug>iron</drug>"}
    """
    markup = constraint.machine.markup
    found, tail = words(constraint)
    last = len(found) - 1

    def outside(word: int, text: str) -> Alternative[Nonterminal]:
        if word > last:
            return Alternative(text + tail)
        return Alternative(text + found[word].gap, (Nonterminal(None, word),))

    def inside(entity_type: str, word: int, text: str) -> Alternative[Nonterminal]:
        text += found[word].core
        if word == last:  # no later place to close
            return outside(word + 1, text + markup.close_tag(entity_type))
        return Alternative(text, (Nonterminal(entity_type, word),))

    every: Rules = {}
    for word in range(last + 1):
        copied = outside(word + 1, found[word].core)
        opened = [inside(t, word, markup.open_tag(t)) for t in markup.types]
        every[Nonterminal(None, word)] = (copied, *opened)
        for t in markup.types if word < last else ():
            closed = outside(word + 1, markup.close_tag(t))
            every[Nonterminal(t, word)] = (closed, inside(t, word + 1, found[word + 1].gap))
    return outside(0, ""), every
