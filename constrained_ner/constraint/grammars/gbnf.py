"""GBNF, for llama.cpp and XGrammar."""

from __future__ import annotations

from ...errors import SentenceError
from ..sentence_automaton import SentenceAutomaton
from .templates import is_plain, write_rules


def render(constraint: SentenceAutomaton) -> str:
    """The grammar. Raises SentenceError for a text with NUL, which llama.cpp takes for a token's end."""
    nul = constraint.text.find("\0")
    if nul >= 0:
        raise SentenceError(f"character {nul} is NUL, which llama.cpp's grammars cannot match: use Lark")
    return write_rules(constraint, "gbnf", _quote)


def _quote(text: str) -> str:
    return text if is_plain(text) else "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)  # not \x0b: XGrammar would also read the hexadecimal digits that follow
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
