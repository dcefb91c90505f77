"""A list of names as JSON, for servers that take nothing but a JSON schema (Ollama).

    [{"name": "aspirin", "type": "drug"}, {"name": "beta-blockers", "type": "group"}]

The schema is looser than the constraint: it does not keep names in the order of the sentence. And names of
more than `LONGEST` words are not in it, which keeps it short. Names are always the sentence's. Check an
answer, as `list_of` gives it, with `ListAutomaton.read`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...data import Mention
from ..edges import Boundary
from ..list_automaton import ListAutomaton
from ..name_list import IS, NEXT, NONE
from .list_language import list_words
from .templates import json_text, template_parts

LONGEST = 8
"""Words of the longest name in the schema. 99.8 % of the names in DDI train have no more."""


def render_entries(constraint: ListAutomaton) -> str:
    """The schema."""
    parts = template_parts("list.schema.json")
    either = parts["or"].template
    names = either.join(f'"{json_text(name)}"' for name in _names(constraint))
    labels = either.join(f'"{label}"' for label in constraint.machine.names.labels.values())
    n_words = len(list_words(constraint))
    return parts["grammar"].substitute(names=names or '""', labels=labels, n_words=n_words)


def write_entries(constraint: ListAutomaton, mentions: Sequence[Mention], boundary: Boundary = "word") -> str:
    """The list of these mentions as the schema asks for it."""
    entries = constraint.machine.names.entries(constraint.text, mentions, boundary)
    return json.dumps([{"name": name, "type": label} for name, label in entries], ensure_ascii=False)


def list_of(answer: str) -> str | None:
    """The list in a JSON array of entries; None if it is not one."""
    try:
        entries = json.loads(answer)
    except json.JSONDecodeError:
        return None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        return None
    return NEXT.join(f"{entry['name']}{IS}{entry['type']}" for entry in entries) or NONE


def are_entries(constraint: ListAutomaton, answer: str) -> bool:
    """Whether the JSON schema allows the answer."""
    try:
        entries = json.loads(answer)
    except json.JSONDecodeError:
        return False
    names, labels = set(_names(constraint)), set(constraint.machine.names.labels.values())
    return (
        isinstance(entries, list)
        and len(entries) <= len(list_words(constraint))
        and all(_is_entry(entry) and entry["name"] in names and entry["type"] in labels for entry in entries)
    )


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"name", "type"}
        and all(isinstance(value, str) for value in entry.values())
    )


def _names(constraint: ListAutomaton) -> list[str]:
    """Every name that may be listed, of up to `LONGEST` words, once, in the order of the sentence."""
    found = list_words(constraint)
    names: dict[str, None] = {}
    for start in range(len(found)):
        name = ""
        for at in range(start, min(start + LONGEST, len(found))):
            word, number = found[at]
            name += (word.gap if at > start else "") + word.core
            names[name + number] = None
    return list(names)
