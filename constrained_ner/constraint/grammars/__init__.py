"""The language of a Constraint as a grammar, for engines that take one: servers, and our own tests.

    gbnf          llama.cpp and its server                         exactly the constraint's language
    lark          llguidance (vLLM, SGLang, llama.cpp with it)     exactly
    regex         Python `re` and Rust `regex`, no look-around     exactly; short sentences only
    json-schema   servers that take nothing else (Ollama)          more than the language: see `json_schema`

Their wording is in `templates/grammars/`, to be read and edited there. `language` cuts a sentence into
the words and rules that go into it, and each dialect has a module that writes them down. `list_language`,
`list_regex` and `list_json` do the same for lists of names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...data import Mention
from ..automaton import Constraint
from ..edges import Boundary
from ..list_automaton import ListAutomaton
from ..sentence_automaton import SentenceAutomaton
from . import gbnf, lark
from .json_schema import are_pieces, join_pieces, render_pieces, split_pieces
from .language import words
from .list_json import are_entries, list_of, render_entries, write_entries
from .list_regex import render_list
from .regex import render_sentence

__all__ = ["Dialect", "is_json_answer", "read_json", "render", "words", "write_json"]

Dialect = Literal["gbnf", "lark", "regex", "json-schema"]


def render(constraint: SentenceAutomaton, dialect: Dialect) -> str:
    """The constraint's language in a dialect. Raises SentenceError if the dialect cannot express it."""
    if dialect == "gbnf":
        return gbnf.render(constraint)
    if dialect == "lark":
        return lark.render(constraint)
    if isinstance(constraint, ListAutomaton):
        return render_list(constraint) if dialect == "regex" else render_entries(constraint)
    tags = _of_tags(constraint)
    return render_sentence(tags) if dialect == "regex" else render_pieces(tags)


def write_json(constraint: SentenceAutomaton, mentions: Sequence[Mention], boundary: Boundary) -> str:
    """The answer with these mentions as the JSON schema asks for it."""
    if isinstance(constraint, ListAutomaton):
        return write_entries(constraint, mentions, boundary)
    return split_pieces(_of_tags(constraint), mentions)


def read_json(constraint: SentenceAutomaton, answer: str) -> str | None:
    """The answer that a JSON text stands for; None if it has another shape."""
    return list_of(answer) if isinstance(constraint, ListAutomaton) else join_pieces(answer)


def is_json_answer(constraint: SentenceAutomaton, answer: str) -> bool:
    """Whether the JSON schema allows the answer."""
    if isinstance(constraint, ListAutomaton):
        return are_entries(constraint, answer)
    return are_pieces(_of_tags(constraint), answer)


def _of_tags(constraint: SentenceAutomaton) -> Constraint:
    assert isinstance(constraint, Constraint), "the forms of the answer are tags and list"
    return constraint
