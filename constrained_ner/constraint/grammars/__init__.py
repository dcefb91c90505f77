"""The language of a Constraint as a grammar, for engines that take one: servers, and our own tests.

    gbnf          llama.cpp and its server                         exactly the constraint's language
    lark          llguidance (vLLM, SGLang, llama.cpp with it)     exactly
    regex         Python `re` and Rust `regex`, no look-around     exactly; short sentences only
    json-schema   servers that take nothing else (Ollama)          more than the language: see `json_schema`

Their wording is in `templates/grammars/`, to be read and edited there. `language` cuts a sentence into
the words and rules that go into it, and each dialect has a module that writes them down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..automaton import Constraint
from . import gbnf, json_schema, lark, regex
from .json_schema import are_pieces, join_pieces, split_pieces
from .language import words

__all__ = ["Dialect", "are_pieces", "join_pieces", "render", "split_pieces", "words"]

Dialect = Literal["gbnf", "lark", "regex", "json-schema"]

_DIALECTS: dict[Dialect, Callable[[Constraint], str]] = {
    "gbnf": gbnf.render,
    "lark": lark.render,
    "regex": regex.render,
    "json-schema": json_schema.render,
}


def render(constraint: Constraint, dialect: Dialect) -> str:
    """The constraint's language in a dialect. Raises SentenceError if the dialect cannot express it."""
    return _DIALECTS[dialect](constraint)
