"""Text of a corpus made visible: what would be obeyed or not be seen is written as its escape.

Sequences for the terminal, direction overrides, control characters and characters without width are shown;
nothing of a text acts on what displays it.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAK_OR_TAB = re.compile(r"\r\n|[\n\t]")
_UNSEEN_CATEGORIES = (
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
)  # control, format, surrogate, line and paragraph separator
_JOINERS = "\u200c\u200d"  # part of the spelling in some scripts, and of emoji


def visible(text: str) -> str:
    """The text in one line, with each character that would be obeyed or not be seen written as its escape.

    A line break or a tab becomes a blank.
    Example: "a\\x1b[31m" -> "a\\\\x1b[31m"
    """
    return "".join(escaped(character) for character in _LINE_BREAK_OR_TAB.sub(" ", text))


def visible_lines(text: str) -> str:
    """The text with `visible` lines; its line breaks stay."""
    return "\n".join(map(visible, text.split("\n")))


def escaped(character: str) -> str:
    """A character, or its escape if it would be obeyed or not be seen. Example: "\\x07" -> "\\\\x07" """
    if character.isprintable() or character in _JOINERS:
        return character
    if unicodedata.category(character) in _UNSEEN_CATEGORIES:
        return character.encode("unicode_escape").decode("ascii")
    return character
