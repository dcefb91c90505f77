"""What is annotated and what annotation finds: spans, mentions, sentences, documents.

All offsets are half-open and count code points, like Python's slices: `text[span.start:span.end]`.
Other conventions (the inclusive ends of the DDI corpus) are converted in the modules of `formats/`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .errors import MissingExtraError

Provenance = Literal["gold", "constrained", "exact", "normalised", "fuzzy", "repeated"]
"""How the offsets of a mention were obtained.

gold: read from a file. constrained: by construction. exact: the free answer was a legal one, or the text
contains the name as quoted. normalised: equal up to case and white space. fuzzy: similar.
repeated: the model marked the same name elsewhere in the document (see `consistency`).
"""

INEXACT: tuple[Provenance, ...] = ("normalised", "fuzzy")
"""The provenances of mentions whose text is not exactly what the model wrote."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of code points, `[start, end)`, never empty."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"span {self.start}-{self.end} is empty or starts before the text")


@dataclass(frozen=True, slots=True, repr=False)
class Mention:
    """A typed name in a sentence: one span, or several when the name is discontinuous.

    text: the name as the sentence spells it (gold may differ, as it does in some corpora).
    confidence: probability in [0, 1]; None if not computed.
    score: similarity in [0, 1] of a fuzzy alignment; None for all others.
    margins: the decisions that wrote it, from which the confidence is computed (see `decoding.confidence`).
    """

    spans: tuple[Span, ...]
    type: str
    text: str
    confidence: float | None = None
    provenance: Provenance = "gold"
    score: float | None = None
    margins: tuple[tuple[float, ...], ...] = field(default=(), compare=False, repr=False)

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        return self.spans[-1].end

    @property
    def discontinuous(self) -> bool:
        return len(self.spans) > 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in JSON lines: what has no value is left out, decisions (`margins`) always are."""
        record: dict[str, Any] = {"start": self.start, "end": self.end, "text": self.text, "type": self.type}
        if self.discontinuous:
            record["spans"] = [[span.start, span.end] for span in self.spans]
        if self.confidence is not None:
            record["confidence"] = round(self.confidence, 6)
        record["provenance"] = self.provenance
        if self.score is not None:
            record["score"] = round(self.score, 6)
        return record

    def __repr__(self) -> str:
        """Example: <Mention 10-17 'aspirin' drug 0.97 constrained>"""
        spans = ";".join(f"{span.start}-{span.end}" for span in self.spans)
        confidence = "" if self.confidence is None else f" {self.confidence:.2f}"
        return f"<Mention {spans} {self.text!r} {self.type}{confidence} {self.provenance}>"

    def moved(self, offset: int) -> Mention:
        """The same mention with every span moved by `offset` code points."""
        if not offset:
            return self
        return replace(self, spans=tuple(Span(s.start + offset, s.end + offset) for s in self.spans))


def disjoint(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans in order, those that overlap as one. Example: 5-9, 0-3, 2-4 -> 0-4, 5-9"""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start < found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return tuple(found)


def covered_text(text: str, spans: Iterable[Span]) -> str:
    """The text under the spans, the pieces joined by one space as the DDI corpus joins them.

    Example: covered_text("cough and cold", (Span(0, 5), Span(10, 14))) -> "cough cold"
    """
    return " ".join(text[s.start : s.end] for s in spans)


def single_line(text: str) -> str:
    """The text with each CR or LF replaced by a space; the length does not change."""
    return text.replace("\r", " ").replace("\n", " ")


class _Exported:
    """What sentences and documents can be turned into."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain data."""

    @abstractmethod
    def texts(self) -> Iterator[Sentence]:
        """The texts that offsets count in."""

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON. Characters stay as they are."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)

    def to_dataframe(self) -> Any:
        """A row for each mention, as a `pandas.DataFrame`. Raises MissingExtraError without pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas") from None
        columns = ("id", "start", "end", "text", "type", "confidence", "provenance")
        rows = [
            (text.id, m.start, m.end, m.text, m.type, m.confidence, m.provenance)
            for text in self.texts()
            for m in text.mentions
        ]
        return pandas.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        """The text with its names in colours, for notebooks."""
        from .rendering.fragment import notebook_html  # the one import upwards: see pyproject.toml

        return notebook_html(self.texts())


@dataclass(frozen=True, slots=True, repr=False)
class Sentence(_Exported):
    """A sentence, verbatim: never stripped, never normalised.

    Offsets of its mentions count from its own first character.
    failure: why it could not be annotated; None if it was, or if nobody tried.
    start: where it begins in the text of its document; 0 if the document has no text of its own.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()
    failure: str | None = None
    start: int = 0

    def with_mentions(self, mentions: Iterable[Mention]) -> Sentence:
        """The same sentence with these mentions, sorted by offset."""
        return replace(self, mentions=tuple(sorted(mentions, key=lambda m: (m.spans, m.type))))

    def texts(self) -> Iterator[Sentence]:
        """Itself."""
        yield self

    def to_dict(self) -> dict[str, Any]:
        """Plain data: id, text, mentions; where it starts and why it failed, if there is something to say."""
        record: dict[str, Any] = {"id": self.id, "text": self.text}
        if self.start:
            record["start"] = self.start
        record["mentions"] = [mention.to_dict() for mention in self.mentions]
        if self.failure is not None:
            record["failure"] = self.failure
        return record

    def to_spacy(self, nlp: Any) -> Any:
        """A `Doc` of spaCy, its names as entities: `doc.ents`, `ent._.confidence` (see `integrations.spacy`).

        nlp: the pipeline whose tokenizer cuts the text. A name that begins or ends inside of a token takes
        the whole token; how many do is told in a warning.
        """
        from .integrations.spacy import doc_of  # upwards, as spaCy's users want it: see pyproject.toml

        return doc_of(self, nlp)

    def __repr__(self) -> str:
        """Example: <Sentence '0' 'Take aspirin.' 1 mention: aspirin (drug 0.97)>"""
        return f"<Sentence {self.id!r} {_shortened(self.text)!r} {_listed(self.mentions)}>"


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _listed(mentions: Iterable[Mention], most: int = 5) -> str:
    """Example: "2 mentions: aspirin (drug 0.97), NSAIDs (group)" """
    names = [
        f"{_shortened(m.text, 30)} ({m.type}{'' if m.confidence is None else f' {m.confidence:.2f}'})"
        for m in mentions
    ]
    counted = f"{len(names)} mention{'s' * (len(names) != 1)}"
    more = ["…"] if len(names) > most else []
    return f"{counted}: {', '.join([*names[:most], *more])}" if names else "no mentions"


def misplaced(sentence: Sentence) -> Iterator[Mention]:
    """The mentions whose text is not at their offsets, whatever its case and white space.

    No mention is checked where it is made: it does not know its sentence, and in some corpora the two differ.
    Example: text "Aspirin.", mention "aspirin" at 1-8 -> that mention
    """
    for mention in sentence.mentions:
        there = covered_text(sentence.text, mention.spans)
        inside = mention.end <= len(sentence.text)
        if not inside or "".join(there.split()).casefold() != "".join(mention.text.split()).casefold():
            yield mention


@dataclass(frozen=True, slots=True, repr=False)
class Document(_Exported):
    """The sentences of one source text, in order.

    text: the running text that the sentences are parts of, blanks between them included. None if there is
        none, as in the DDI corpus: then the offsets of each sentence are its own.
    in_sentences: whether its parts are sentences. If not they are passages of running text (a whole file, a
        title, an abstract), which are still to be cut into sentences.
    start: characters of the source before `text`. More than 0 only for the later parts of a text that is too
        long to be held in memory at once; the parts follow one another and have the same id.
    continues: whether it is a later part of the document before it. So it may be without a text, too.
    """

    id: str
    sentences: tuple[Sentence, ...] = field(default=())
    text: str | None = None
    in_sentences: bool = True
    start: int = 0
    continues: bool = False

    def __iter__(self) -> Iterator[Sentence]:
        return iter(self.sentences)

    @classmethod
    def of_text(cls, id: str, text: str, mentions: Iterable[Mention] = (), *, start: int = 0) -> Document:
        """A document of running text in one passage. mentions: with offsets in `text`. start: more than 0 for
        a later part."""
        passage = Sentence(id, text).with_mentions(mentions)
        return cls(id, (passage,), text, in_sentences=False, start=start, continues=start > 0)

    def texts(self) -> Iterator[Sentence]:
        """What offsets in files of results count in, with its mentions: the sentences, or the whole text."""
        if self.text is None:
            yield from self.sentences
        else:
            moved = [m.moved(self.start + s.start) for s in self.sentences for m in s.mentions]
            yield Sentence(self.id, self.text, start=self.start).with_mentions(moved)

    def located(self) -> Iterator[tuple[str, Mention]]:
        """The mentions with the id of the text that their offsets count in (see `texts`)."""
        return ((text.id, mention) for text in self.texts() for mention in text.mentions)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: a text with its mentions, or the sentences if there is no text of its own."""
        if self.text is None:
            return {"id": self.id, "sentences": [sentence.to_dict() for sentence in self.sentences]}
        record: dict[str, Any] = {"id": self.id, "text": self.text}
        if self.start:
            record["start"] = self.start
        record["mentions"] = [mention.to_dict() for _, mention in self.located()]
        if failures := {s.id: s.failure for s in self.sentences if s.failure is not None}:
            record["failures"] = failures
        return record

    def __repr__(self) -> str:
        """Example: <Document '0' of 2 sentences, 1 mention: aspirin (drug 0.97)>"""
        n = len(self.sentences)
        parts = "sentence" if self.in_sentences else "passage"
        mentions = [mention for sentence in self.sentences for mention in sentence.mentions]
        return f"<Document {self.id!r} of {n} {parts}{'s' * (n != 1)}, {_listed(mentions)}>"
