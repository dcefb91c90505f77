"""Matching: names with their types as JSON, and each is looked for in the sentence.

    [{"name": "aspirin", "type": "drug"}, {"name": "beta-blockers", "type": "group"}]

A name stands for all its places. With occurrences, it stands for one:

    [{"name": "iron", "type": "drug", "occurrence": 2}]

Under the grammar names are substrings of the sentence: what LogitMatch enforces, here by a JSON schema that
enumerates them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...constraint.edges import Boundary, edges
from ...constraint.grammars import render
from ...constraint.list_automaton import ListAutomaton
from ...constraint.list_machine import ListMachine
from ...constraint.markup import Markup
from ...constraint.name_list import NameList, places_of
from ...data import Mention
from .form import Reading, asked
from .json_array import elements
from .string_match import everywhere, numbered


class JsonNames:
    """See the module."""

    prompt = asked(
        (
            'List the names that the sentence contains, as a JSON array of objects with "name" and "type".',
            "Copy each name exactly. Write [] if there is no name.",
        ),
        "Names:",
    )

    def __init__(self, markup: Markup) -> None:
        self.markup = markup
        self._names = NameList(markup)
        self._types = {label: name for name, label in self._names.labels.items()}
        self._machine = ListMachine(self._names)

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        entries = self._names.entries(text, mentions, boundary)
        return json.dumps([{"name": name, "type": label} for name, label in entries], ensure_ascii=False)

    def read(self, text: str, answer: str) -> Reading:
        entries, complete = elements(answer)
        pairs = [pair for pair in map(self._pair, entries) if pair is not None]
        reading = everywhere(text, pairs)
        return replace(reading, n_unknown=len(entries) - len(pairs), broken=not complete)

    def grammar(self, text: str) -> str | None:
        return render(ListAutomaton(text, self._machine), "json-schema")

    def _pair(self, entry: Any) -> tuple[str, str] | None:
        if not isinstance(entry, dict):
            return None
        name, label = entry.get("name"), entry.get("type")
        known = self._types.get(label) if isinstance(label, str) else None
        return None if known is None or not isinstance(name, str) else (name, known)


class JsonOccurrences(JsonNames):
    """The same with the number of the occurrence."""

    prompt = asked(
        (
            "List the names that the sentence contains, as a JSON array of objects with "
            '"name", "type", and "occurrence": 1 if the sentence contains the name for the first time, '
            "2 for the second.",
            "Copy each name exactly. Write [] if there is no name.",
        ),
        "Names:",
    )

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        places = edges(text, boundary)
        entries = []
        for mention in mentions:
            name = text[mention.start : mention.end]
            n = sum(span.start <= mention.start for span in places_of(name, text, places))
            entries.append({"name": name, "type": self._names.labels[mention.type], "occurrence": n})
        return json.dumps(entries, ensure_ascii=False)

    def read(self, text: str, answer: str) -> Reading:
        entries, complete = elements(answer)
        known = []
        for entry in entries:
            pair = self._pair(entry)
            n = entry.get("occurrence") if pair is not None else None
            if pair is not None and type(n) is int:
                known.append((*pair, n))
        reading = numbered(text, known)
        return replace(reading, n_unknown=len(entries) - len(known), broken=not complete)

    def grammar(self, text: str) -> None:
        """None: substrings are those of the form without numbers."""
