"""The legal lists of names as one regular expression, for short sentences, in the way of `regex`."""

from __future__ import annotations

from ..list_automaton import ListAutomaton
from ..name_list import IS, NEXT, NONE
from .list_language import list_words
from .regex import MAX_CHARACTERS, grouped, halved, quoted
from .templates import template_parts

_NOTHING, _NAME, _ENTRIES = range(3)
"""Contexts between two words: nothing is listed yet, a name is open, the last entry has ended."""


def render_list(constraint: ListAutomaton, *, max_characters: int = MAX_CHARACTERS) -> str:
    """The language as a regular expression, to be matched against the whole answer.

    Raises SentenceError if it takes more than `max_characters`.
    """
    parts = template_parts("sentence.regex")
    found = list_words(constraint)
    labels = grouped([quoted(label) for label in constraint.machine.names.labels.values()])

    def through_word(at: int, before: int, after: int) -> str | None:
        if after == _NOTHING and before != _NOTHING:
            return None
        word, number = found[at]
        core = quoted(word.core)
        end = quoted(number + IS) + labels
        if before == _NAME:
            core = quoted(word.gap) + core
            return core if after == _NAME else core + end
        begun = core if before == _NOTHING else quoted(NEXT) + core
        if after == _NAME:
            return begun
        if before == _NOTHING:
            return "" if after == _NOTHING else begun + end
        return grouped(["", begun + end])

    what = f"a list of names in {len(found)} words"
    through = halved(len(found), (_NOTHING, _NAME, _ENTRIES), through_word, what, max_characters)
    listed = through(_NOTHING, _ENTRIES) if found else None
    return parts["grammar"].substitute(
        leading_space=parts["leading space"].template if constraint.leading_space else "",
        answer=grouped([NONE, listed] if listed else [NONE]),
        tail="",
    )
