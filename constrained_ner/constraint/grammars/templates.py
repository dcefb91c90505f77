"""Filling in the template files of the dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template

from ..automaton import Constraint
from ..list_automaton import ListAutomaton
from ..sentence_automaton import SentenceAutomaton
from .language import Alternative, Nonterminal, Rule, rules
from .list_language import ListRule, list_rules


@cache
def template_parts(name: str) -> dict[str, Template]:
    """The parts of a template file: each begins with a line `%% its name`, and has no final newline."""
    content = (files("constrained_ner") / "templates" / "grammars" / name).read_text(encoding="utf-8")
    parts = (part.split("\n", 1) for part in content.split("%% ")[1:])
    return {title: Template(body.removesuffix("\n")) for title, body in parts}


def write_rules(constraint: SentenceAutomaton, suffix: str, quote: Callable[[str], str]) -> str:
    """The constraint's rules in a dialect that has rules (GBNF, Lark).

    suffix: of the dialect's template files. quote: escapes text for a string literal of the dialect.
    """
    if isinstance(constraint, ListAutomaton):
        parts = template_parts(f"list.{suffix}")
        roots, list_of_rules = list_rules(constraint)
        return _filled(parts, roots, list_of_rules, _list_namer(parts), quote, constraint.leading_space)
    assert isinstance(constraint, Constraint), "the forms of the answer are tags and list"
    parts = template_parts(f"sentence.{suffix}")
    first, every = rules(constraint)
    types = constraint.machine.markup.types
    numbers = {entity_type: number for number, entity_type in enumerate(types, start=1)}
    legend = ", ".join(f"{number} for {entity_type}" for entity_type, number in numbers.items())
    namer = _tag_namer(parts, numbers)
    return _filled(parts, (first,), every, namer, quote, constraint.leading_space, types=legend)


def _tag_namer(parts: Mapping[str, Template], numbers: Mapping[str, int]) -> Callable[[Nonterminal], str]:
    def name(rule: Nonterminal) -> str:
        if rule.entity_type is None:
            return parts["outside"].substitute(word=rule.word)
        return parts["inside"].substitute(word=rule.word, type=numbers[rule.entity_type])

    return name


def _list_namer(parts: Mapping[str, Template]) -> Callable[[ListRule], str]:
    return lambda rule: parts[rule.kind].substitute(word=rule.word)


def _filled(
    parts: Mapping[str, Template],
    roots: Sequence[Alternative[Rule]],
    every: Mapping[Rule, Sequence[Alternative[Rule]]],
    name: Callable[[Rule], str],
    quote: Callable[[str], str],
    leading_space: bool,
    **legend: str,
) -> str:
    def written(way: Alternative[Rule]) -> str:
        text = [parts["text"].substitute(text=quote(way.text))] if way.text or not way.then else []
        return " ".join((*text, *map(name, way.then)))

    either = parts["or"].template
    begun = [written(way) for way in roots]
    spaced = [parts["leading space"].substitute(root=way) for way in begun] if leading_space else []
    lines = [
        parts["rule"].substitute(name=name(rule), choices=either.join(map(written, ways)))
        for rule, ways in every.items()
    ]
    root = either.join((*begun, *spaced))
    return parts["grammar"].substitute(legend, root=root, rules="\n".join(lines)).rstrip("\n") + "\n"


def is_plain(text: str) -> bool:
    """Whether the text needs no escapes between quotes. Printable text has no control characters."""
    return text.isprintable() and '"' not in text and "\\" not in text


def json_text(text: str) -> str:
    """The text between the quotes of a JSON string. Lark's strings are read the same way."""
    return text if is_plain(text) else "".join(c if is_plain(c) else json.dumps(c)[1:-1] for c in text)
