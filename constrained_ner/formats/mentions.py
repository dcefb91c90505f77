"""`out.mentions.jsonl`: everything a run knows of each mention; evaluator lines have no room for it.

One JSON object a line, in the order of the lines of `out`:

    {"sentence": "d1.s0", "start": 0, "end": 7, "text": "Aspirin", "type": "drug", "confidence": 0.98,
     "provenance": "constrained", "margins": [[-4.1, -5.2], [-6.0]], "sentence_text": "Aspirin and iron."}

Offsets are half-open code points: `sentence_text[start:end]` is the name. The first mention of each sentence
carries the sentence's text. A sentence of running text also names its document and where in it it begins.
docs/mentions.schema.json describes every field.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from ..data import Document, Mention, Provenance, Span, disjoint
from ..errors import InputError
from ..files import read_lines
from ..misfits import first_misfit
from .protocol import Losses

_SHAPE = (
    'a line of a mentions file has at least: {"sentence": "d1.s0", "start": 0, "end": 7, "text": "Aspirin", '
    '"type": "drug", "provenance": "constrained"}'
)


def _or_impossible(margin: Any) -> Any:
    """Earlier versions wrote null for a token that was impossible."""
    return -math.inf if margin is None else margin


_Margin = Annotated[
    float,
    BeforeValidator(_or_impossible),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"const": "-Infinity"}]}),
]


class MentionRecord(BaseModel):
    """One mention of a run. Fields without a value are left out."""

    # JSON has no infinity: it is written as a string, which is read back as the number.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", title="A line of OUT.mentions.jsonl")

    sentence: str = Field(description="Id of the sentence.")
    start: int = Field(ge=0, description="Where the name starts: characters (code points) before it.")
    end: int = Field(description="Where it ends: sentence_text[start:end] is the name. Exclusive.")
    text: str = Field(description="The name as the sentence spells it.")
    type: str = Field(description="Entity type, one of the schema's.")
    spans: tuple[tuple[int, int], ...] | None = Field(
        default=None, description="[start, end) of each piece, if the name is discontinuous."
    )
    confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Probability that the model writes exactly this mention, at its temperature. "
        "Missing if it is not known, as for free answers and servers.",
    )
    provenance: Provenance = Field(
        description="How the offsets were obtained. constrained: by construction. exact: the answer quotes "
        "the text. normalised: equal up to case and white space. fuzzy: similar (see score). repeated: the "
        "model marked the same name elsewhere in the document. gold: read from a file."
    )
    score: float | None = Field(
        default=None, ge=0, le=1, description="Similarity of a fuzzy alignment to the text, from 0 to 1."
    )
    margins: tuple[tuple[_Margin, ...], ...] = Field(
        default=(),
        description="The decisions that wrote the mention, from opening to closing its tag. Of each: the "
        "logits of the legal tokens that were not chosen, minus that of the chosen one (natural logarithm; "
        'more negative is surer; "-Infinity" for an impossible one). Confidences at another temperature are '
        "computed from them.",
    )
    sentence_text: str | None = Field(
        default=None, description="The whole sentence, verbatim. Only at its first mention."
    )
    document: str | None = Field(
        default=None, description="Id of the document, if the sentence was cut from its running text."
    )
    sentence_start: int | None = Field(
        default=None, ge=0, description="Where the sentence begins in that document, in characters."
    )

    @classmethod
    def of(
        cls,
        sentence_id: str,
        mention: Mention,
        sentence_text: str | None = None,
        document: str | None = None,
        sentence_start: int | None = None,
    ) -> MentionRecord:
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
            sentence_text=sentence_text,
            document=document,
            sentence_start=sentence_start,
        )

    def mention(self) -> Mention:
        """The mention. Raises ValueError for an empty span."""
        spans = self.spans or ((self.start, self.end),)
        return Mention(
            disjoint(Span(start, end) for start, end in spans),
            self.type,
            self.text,
            self.confidence,
            self.provenance,
            self.score,
            self.margins,
        )

    def located(self) -> tuple[str, Mention]:
        """The mention with the id that its offsets count in (see `Document.located`)."""
        if self.document is None:
            return self.sentence, self.mention()
        return self.document, self.mention().moved(self.sentence_start or 0)

    def line(self) -> str:
        """The record as a line of the file, without the line end."""
        return self.model_dump_json(exclude_defaults=True)


def mentions_path(out: str | Path) -> Path:
    """The mentions file that belongs to an output. Example: "results/out" -> results/out.mentions.jsonl"""
    out = Path(out)
    return out.with_name(out.name + ".mentions.jsonl")


def write_mentions(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The text of a mentions file."""
    for document in documents:
        for sentence in document:
            place = (None, None) if document.text is None else (document.id, document.start + sentence.start)
            for n, mention in enumerate(sentence.mentions):
                text = sentence.text or None if n == 0 else None
                yield MentionRecord.of(sentence.id, mention, text, *place).line() + "\n"


def read_mentions(path: str | Path) -> list[tuple[str, Mention]]:
    """The mentions with the ids that their offsets count in, in order. Raises
    InputError naming the line that does not fit."""
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; llm-NERC writes it beside its output")
    return [_parse_line(line, f"{path}: line {number}") for number, line in enumerate(read_lines(path), 1)]


def _parse_line(line: str, place: str) -> tuple[str, Mention]:
    try:
        return MentionRecord.model_validate_json(line).located()
    except ValidationError as error:
        raise InputError(f"{place}: {first_misfit(error, 'line')}\n{_SHAPE}") from None
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
