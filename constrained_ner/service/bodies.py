"""What requests and answers hold. The options come from the fields of `Settings` that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from ..annotation.settings import field_types, options_by_name
from ..data import Document, Sentence
from ..misfits import why
from ..schema import Schema

_NEED_LOGITS = ("min_confidence", "bias")
_IN_REQUESTS = {"bias": "For types, numbers: above 0 to find more of a type, below 0 for less."}
"""What options mean that a request writes otherwise than a command line."""

_LONGEST_ID = 200

Id = Annotated[str, Field(max_length=_LONGEST_ID, description="Comes back with the answer.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunningText(_Body):
    """A text, which is cut into sentences. Offsets count from its first character."""

    id: Id | None = None
    text: str


class TextInSentences(_Body):
    """A document that is cut into sentences already. Offsets count from the start of each."""

    id: Id | None = None
    sentences: list[str]


def _kind_of_text(value: Any) -> str | None:
    """Which form a value has, so that what is wrong with it is told of that form: "(text)", for instance."""
    if isinstance(value, (dict, BaseModel)):
        fields = value if isinstance(value, dict) else value.model_fields_set
        return "(sentences)" if "sentences" in fields else "(object)"
    return "(text)" if isinstance(value, str) else None


Text = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[RunningText, Tag("(object)")]
    | Annotated[TextInSentences, Tag("(sentences)")],
    Discriminator(
        _kind_of_text,
        custom_error_type="no_text",
        custom_error_message="must be text, or an object with text or sentences",
    ),
]


class OfMention(BaseModel):
    """A name. `text[start:end]` spells it; offsets are half-open and count code points."""

    start: int
    end: int
    text: str
    type: str
    spans: list[tuple[int, int]] | None = None
    confidence: float | None = None
    provenance: str
    score: float | None = None


class OfFailure(BaseModel):
    """A sentence that could not be annotated."""

    start: int
    end: int
    why: str


class OfText(BaseModel):
    """What was found in a running text: a line of JSON, as `llm-NERC` writes it."""

    id: str
    text: str
    mentions: list[OfMention]
    failures: list[OfFailure] | None = None


class OfSentence(BaseModel):
    """What was found in a sentence of a document that came in sentences."""

    id: str
    document: str
    text: str
    mentions: list[OfMention]
    failure: str | None = None


class OfSentences(BaseModel):
    id: str
    sentences: list[OfSentence]


class Answers(BaseModel):
    """One result for each text, in order."""

    results: list[OfText | OfSentences]


class Problem(BaseModel):
    """What is wrong with a request (RFC 9457)."""

    title: str
    status: int
    detail: str | None = None


def misfit(errors: Sequence[Mapping[str, Any]]) -> str:
    """Where a body does not fit, and why. errors: pydantic's. Example: "texts.0.foo: unknown field" """
    first = errors[0]
    parts = (str(part) for part in first["loc"])
    place = ".".join(part for part in parts if part != "body" and not part.startswith("("))[:200]
    said = "not JSON" if first["type"] == "json_invalid" else why(first)
    return f"{place}: {said}" if place else said


def options_model(schema: Schema, knows_confidence: bool) -> type[BaseModel]:
    """The options that a request may choose: fields of `Settings` that are `per_request`.

    knows_confidence: whether the model reports confidence; without it some options mean nothing.
    """
    types: Any = Literal[schema.type_names]
    bias: Any = dict[types, Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]]
    fields: dict[str, Any] = {}
    for name, option in options_by_name().items():
        if option.per_request and (knows_confidence or name not in _NEED_LOGITS):
            kind = bias if name == "bias" else field_types()[name]
            fields[name] = (kind | None, Field(default=None, description=_IN_REQUESTS.get(name, option.help)))
    return create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)


def request_model(options: Any) -> type[BaseModel]:
    """The body of a request with these options."""
    return create_model(
        "AnnotateRequest",
        __config__=ConfigDict(extra="forbid"),
        texts=(list[Text], Field(description="Texts, or documents in sentences.")),
        options=(options | None, Field(default=None, description="For this request alone.")),
    )


def one_text_model(options: Any) -> type[BaseModel]:
    """The body of a request for one text with these options."""
    return create_model(
        "OneText",
        __config__=ConfigDict(extra="forbid"),
        text=str,
        options=(options | None, Field(default=None, description="For this request alone.")),
    )


def chosen(options: BaseModel | None) -> dict[str, Any]:
    """The options that were given, by name."""
    return options.model_dump(exclude_none=True) if options is not None else {}


def document_of(text: Text, number: int) -> Document:
    """The document to annotate. number: its id, if it has none of its own."""
    if isinstance(text, str):
        return Document.of_text(str(number), text)
    id = text.id if text.id is not None else str(number)
    if isinstance(text, RunningText):
        return Document.of_text(id, text.text)
    return Document(id, tuple(Sentence(f"{id}.s{n}", s) for n, s in enumerate(text.sentences)))


def n_characters(text: Text) -> int:
    """How long a text is."""
    if isinstance(text, str):
        return len(text)
    return len(text.text) if isinstance(text, RunningText) else sum(map(len, text.sentences))
