"""Indexing: where each name starts and ends, in characters from 0; the end is not part of the name.

[{"start": 10, "end": 17, "type": "drug"}, {"start": 21, "end": 34, "type": "group"}]
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Mention, Span
from .form import Reading, asked
from .json_array import elements


class Positions:
    """See the module."""

    prompt = asked(
        (
            "Say where the names of the sentence are, as a JSON array of objects with the position of the "
            'first character ("start", counted from 0), the position after the last one ("end"), and "type".',
            "Write [] if there is no name.",
        ),
        "Positions:",
    )

    def __init__(self, markup: Markup) -> None:
        self.markup = markup
        self._labels = {t.name: t.tag for t in markup.schema.types}
        self._types = {t.tag: t.name for t in markup.schema.types}

    def write(self, text: str, mentions: Iterable[Mention], boundary: Boundary = "word") -> str:
        return json.dumps([{"start": m.start, "end": m.end, "type": self._labels[m.type]} for m in mentions])

    def read(self, text: str, answer: str) -> Reading:
        entries, complete = elements(answer)
        found: list[tuple[str, Span]] = []
        n_absent = n_unknown = 0
        for entry in entries:
            entity_type, start, end = self._parts(entry)
            if entity_type is None or start is None or end is None:
                n_unknown += 1
            elif 0 <= start < end <= len(text):
                found.append((entity_type, Span(start, end)))
            else:
                n_absent += 1
        return Reading(tuple(found), n_absent, n_unknown, broken=not complete)

    def _parts(self, entry: Any) -> tuple[str | None, int | None, int | None]:
        if not isinstance(entry, dict):
            return None, None, None
        label = entry.get("type")
        start, end = (value if type(value) is int else None for value in map(entry.get, ("start", "end")))
        return self._types.get(label) if isinstance(label, str) else None, start, end

    def grammar(self, text: str) -> None:
        """None: digits under a grammar would still be any digits."""
