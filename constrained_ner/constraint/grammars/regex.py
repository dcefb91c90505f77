"""One regular expression, for short sentences.

Divide and conquer: the sentence is halved, and what leads through a half from one context to another
(outside, inside a mention of some type) is the union over the contexts in the middle. A regular expression
cannot share its parts, so it grows with the cube of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from ...errors import SentenceError
from ..automaton import Constraint
from .language import words
from .templates import template_parts

MAX_CHARACTERS = 300_000
"""22 words with four types: `re` compiles that in a second, outlines-core in half a minute.

23,000 characters for 9 words, 75,000 for 14, 650,000 for 28, 10 million for 66. Of the devel sentences of the
DDI corpus 59 % stay below.
"""


def render_sentence(constraint: Constraint, *, max_characters: int = MAX_CHARACTERS) -> str:
    """The language as a regular expression, to be matched against the whole answer.

    Raises SentenceError if it takes more than `max_characters`.
    """
    parts = template_parts("sentence.regex")
    markup = constraint.machine.markup
    found, tail = words(constraint)

    def through_word(at: int, before: str | None, after: str | None) -> str | None:
        gap, core = quoted(found[at].gap), quoted(found[at].core)
        if before is not None:
            if after is None:
                return gap + core + quoted(markup.close_tag(before))
            return gap + core if after == before else None
        if after is not None:
            return gap + quoted(markup.open_tag(after)) + core
        tagged = [quoted(markup.open_tag(t)) + core + quoted(markup.close_tag(t)) for t in markup.types]
        return gap + grouped([core, *tagged])

    what = f"{len(found)} words and {len(markup.types)} types"
    through = halved(len(found), (None, *markup.types), through_word, what, max_characters)
    return parts["grammar"].substitute(
        leading_space=parts["leading space"].template if constraint.leading_space else "",
        answer=(through(None, None) or "") if found else "",
        tail=quoted(tail),
    )


Context = TypeVar("Context")


def halved(
    n_words: int,
    contexts: Sequence[Context],
    through_word: Callable[[int, Context, Context], str | None],
    what: str,
    max_characters: int,
) -> Callable[[Context, Context], str | None]:
    """What leads through all words, from one context before the first to another after the last.

    through_word: the same for the word of this number; None if nothing leads there. what: names the sentence
    in the SentenceError for what takes more than `max_characters`.
    """

    @cache
    def through(first: int, last: int, before: Context, after: Context) -> str | None:
        if last - first == 1:
            return through_word(first, before, after)
        middle = (first + last) // 2
        choices: list[str] = []
        for between in contexts:
            left = through(first, middle, before, between)
            right = through(middle, last, between, after)
            if left is not None and right is not None:
                choices.append(left + right)
        if sum(map(len, choices)) > max_characters:
            raise SentenceError(
                f"a regular expression for {what} would take more than {max_characters} characters: "
                "use GBNF or Lark"
            )
        return grouped(choices) if choices else None

    return lambda before, after: through(0, n_words, before, after)


def grouped(choices: Sequence[str]) -> str:
    """One of the choices."""
    if len(choices) == 1:
        return choices[0]
    parts = template_parts("sentence.regex")
    return parts["group"].substitute(choices=parts["or"].template.join(choices))


def quoted(text: str) -> str:
    """The expression that matches this text only."""
    return "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    if character in r".+*?()|[]{}^$" or character == "\\":
        return "\\" + character
    return f"\\x{ord(character):02x}" if ord(character) < 32 or ord(character) == 127 else character
