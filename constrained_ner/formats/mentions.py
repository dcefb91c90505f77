"""`out.mentions.jsonl`: what a run knows of each mention and the evaluator's lines have no room for.

One JSON object a line, in the order of the lines of `out`:

    {"sentence": "d1.s0", "start": 0, "end": 7, "text": "Aspirin", "type": "drug", "confidence": 0.98,
     "provenance": "constrained", "margins": [[-4.1, -5.2], [-6.0]]}

Offsets are half-open code points, as everywhere but in the corpus's own files: `text[start:end]` is the name.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..data import Mention, Provenance, Span
from ..errors import InputError
from ..files import first_misfit


class MentionRecord(BaseModel):
    """One mention as it stands in the file; what has no value is left out.

    spans: the pieces of a discontinuous name. score: similarity of a fuzzy alignment.
    confidence, margins: see `confidence.py`; free answers have none.
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
        """The record of a mention, figures rounded: they are not exact to more digits than are kept."""
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
        """The mention. Raises ValueError where the offsets are none."""
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
    """Where the mentions of a run stand. Example: "results/out" -> results/out.mentions.jsonl"""
    out = Path(out)
    return out.with_name(out.name + ".mentions.jsonl")


def read_mentions(path: str | Path) -> list[tuple[str, Mention]]:
    """The file as (sentence id, mention), in order. Raises InputError naming the line that does not fit."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            return [_parse_line(line, f"{path}: line {number}") for number, line in enumerate(file, start=1)]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; llm-NERC writes it beside its output") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: byte {error.start}: {error.reason}") from None


def _parse_line(line: str, place: str) -> tuple[str, Mention]:
    try:
        record = MentionRecord.model_validate_json(line)
        return record.sentence, record.mention()
    except ValidationError as error:
        raise InputError(f"{place}: {first_misfit(error, 'line')}") from None
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
