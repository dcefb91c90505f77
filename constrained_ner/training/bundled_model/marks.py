"""What a teacher thinks of a sentence, by place: how likely a tag is to open or to close at each character.

Places are what two models with different tokenizers have in common. A file of marks has one JSON object a
line; a line says what the teacher would write (`mentions`) and how sure it is along that path:

    {"id": "a.1", "text": "Take aspirin.", "mentions": [[5, 12, "drug"]], "agreed": true,
     "open": [[0, 0.0001], [5, 0.98]], "type": [[5, {"drug": 0.99, "brand": 0.01}]], "close": [[12, 0.999]]}

`agreed` is false where the path is not the teacher's own answer: such lines teach nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data import Mention, Sentence, Span
from ...errors import InputError
from ...files import read_lines


@dataclass(frozen=True)
class Marks:
    """A teacher's answer for one sentence, with its probabilities.

    sentence: has the teacher's mentions. agreed: they are what the teacher would write.
    opens, closes: character -> probability that a tag opens (closes) there, given all that is before it.
        `closes` is known only within the mentions.
    types: first character of each mention -> type -> probability, given that a tag opens there.
    """

    sentence: Sentence
    agreed: bool
    opens: Mapping[int, float]
    types: Mapping[int, Mapping[str, float]]
    closes: Mapping[int, float]

    def to_json(self) -> str:
        """One line of a file of marks, without the line end."""
        s = self.sentence
        record = {
            "id": s.id,
            "text": s.text,
            "mentions": [[m.start, m.end, m.type] for m in s.mentions],
            "agreed": self.agreed,
            "open": _pairs(self.opens),
            "type": [[at, {t: round(p, 5) for t, p in types.items()}] for at, types in self.types.items()],
            "close": _pairs(self.closes),
        }
        return json.dumps(record)

    @classmethod
    def from_json(cls, line: str) -> Marks:
        """Read such a line. Raises ValueError, KeyError or TypeError if it is none."""
        record: dict[str, Any] = json.loads(line)
        text = record["text"]
        mentions = tuple(Mention((Span(a, b),), kind, text[a:b]) for a, b, kind in record["mentions"])
        return cls(
            Sentence(record["id"], text, mentions),
            bool(record["agreed"]),
            either(record["open"]),
            {int(at): types for at, types in record["type"]},
            either(record["close"]),
        )


def either(chances: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Place -> probability of doing it there at any of its chances, each given that none before was taken.

    A tokenizer may give two: before a space that belongs to the tag, and after it.
    """
    found: dict[int, float] = {}
    for place, p in chances:
        found[place] = 1 - (1 - found.get(place, 0.0)) * (1 - p)
    return found


def read_marks(path: Path) -> list[Marks]:
    """Read the marks that the teacher agreed to. Raises InputError."""
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            marks = Marks.from_json(line)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: line {number}: not a teacher's marks: {error!r}") from None
        if marks.agreed:
            found.append(marks)
    return found


def _pairs(chances: Mapping[int, float]) -> list[list[float]]:
    return [[place, round(p, 5)] for place, p in chances.items()]
