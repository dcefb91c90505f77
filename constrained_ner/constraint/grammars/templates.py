"""Filling in the template files of the dialects."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from string import Template

from ..automaton import Constraint
from .language import Alternative, Nonterminal, rules


@cache
def template_parts(name: str) -> dict[str, Template]:
    """The parts of a template file: each begins with a line `%% its name`, and has no final newline."""
    content = (files("constrained_ner") / "templates" / "grammars" / name).read_text(encoding="utf-8")
    parts = (part.split("\n", 1) for part in content.split("%% ")[1:])
    return {title: Template(body.removesuffix("\n")) for title, body in parts}


def write_rules(constraint: Constraint, template: str, quote: Callable[[str], str]) -> str:
    """The constraint's rules in a dialect that has rules (GBNF, Lark).

    quote: escapes text for a string literal of the dialect.
    """
    parts = template_parts(template)
    types = constraint.machine.markup.types
    numbers = {entity_type: number for number, entity_type in enumerate(types, start=1)}

    def name(rule: Nonterminal) -> str:
        if rule.entity_type is None:
            return parts["outside"].substitute(word=rule.word)
        return parts["inside"].substitute(word=rule.word, type=numbers[rule.entity_type])

    def written(way: Alternative) -> str:
        text = parts["text"].substitute(text=quote(way.text)) if way.text or not way.then else ""
        return " ".join(filter(None, (text, name(way.then) if way.then else "")))

    either = parts["or"].template
    first, every = rules(constraint)
    root = written(first)
    if constraint.leading_space:
        root += either + parts["leading space"].substitute(root=root)
    lines = [
        parts["rule"].substitute(name=name(rule), choices=either.join(map(written, ways)))
        for rule, ways in every.items()
    ]
    legend = ", ".join(f"{number} for {entity_type}" for entity_type, number in numbers.items())
    return parts["grammar"].substitute(types=legend, root=root, rules="\n".join(lines)).rstrip("\n") + "\n"


def is_plain(text: str) -> bool:
    """Whether the text needs no escapes between quotes. Printable text has no control characters."""
    return text.isprintable() and '"' not in text and "\\" not in text


def json_text(text: str) -> str:
    """The text between the quotes of a JSON string. Lark's strings are read the same way."""
    return text if is_plain(text) else "".join(c if is_plain(c) else json.dumps(c)[1:-1] for c in text)
