"""`out.mentions.jsonl`: everything a run knows of each mention; evaluator lines have no room for it.

One JSON object a line, in the order of the lines of `out`:

    {"sentence": "d1.s0", "start": 0, "end": 7, "text": "Aspirin", "type": "drug", "confidence": 0.98,
     "provenance": "constrained", "margins": [[-4.1, -5.2], [-6.0]]}

Offsets are half-open code points: `text[start:end]` is the name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..data import Mention, Provenance, Sentence, Span
from ..errors import InputError
from ..files import first_misfit, read_lines


class MentionRecord(BaseModel):
    """One line of the file; fields without a value are left out.

    spans: the pieces of a discontinuous name. score: similarity of a fuzzy alignment.
    confidence, margins: see `decoding/confidence.py`; free answers have none.
    """

    model_config = ConfigDict(frozen=True)

    sentence: str
    start: int = Field(ge=0)
    end: int
    text: str
    type: str
    spans: tuple[tuple[int, int], ...] | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    provenance: Provenance
    score: float | None = None
    margins: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, sentence_id: str, mention: Mention) -> MentionRecord:
        """The record of a mention. Figures are rounded: the digits cut off are not exact anyway."""
        return cls(
            sentence=sentence_id,
            start=mention.start,
            end=mention.end,
            text=mention.text,
            type=mention.type,
            spans=tuple((s.start, s.end) for s in mention.spans) if mention.discontinuous else None,
            confidence=None if mention.confidence is None else round(mention.confidence, 6),
            provenance=mention.provenance,
            score=None if mention.score is None else round(mention.score, 6),
            margins=tuple(tuple(round(margin, 4) for margin in margins) for margins in mention.margins),
        )

    def mention(self) -> Mention:
        """The mention. Raises ValueError for an empty span."""
        spans = self.spans or ((self.start, self.end),)
        return Mention(
            tuple(Span(start, end) for start, end in spans),
            self.type,
            self.text,
            self.confidence,
            self.provenance,
            self.score,
            self.margins,
        )

    def line(self) -> str:
        """The record as a line of the file, without the line end."""
        return self.model_dump_json(exclude_defaults=True)


def mentions_path(out: str | Path) -> Path:
    """The mentions file that belongs to an output. Example: "results/out" -> results/out.mentions.jsonl"""
    out = Path(out)
    return out.with_name(out.name + ".mentions.jsonl")


def write_mentions(sentences: Iterable[tuple[str, Sentence]]) -> Iterator[str]:
    """The text of a mentions file. sentences: with the ids of their documents, which the format omits."""
    for _, sentence in sentences:
        for mention in sentence.mentions:
            yield MentionRecord.of(sentence.id, mention).line() + "\n"


def read_mentions(path: str | Path) -> list[tuple[str, Mention]]:
    """The mentions with their sentence ids, in order. Raises InputError naming the line that does not fit."""
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; llm-NERC writes it beside its output")
    return [_parse_line(line, f"{path}: line {number}") for number, line in enumerate(read_lines(path), 1)]


def _parse_line(line: str, place: str) -> tuple[str, Mention]:
    try:
        record = MentionRecord.model_validate_json(line)
        return record.sentence, record.mention()
    except ValidationError as error:
        raise InputError(f"{place}: {first_misfit(error, 'line')}") from None
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
