"""Records with tokens and without a text: GLiNER, spaCy 2 and lists of tokens with tags.

The text is the tokens joined by one space each; what stood between them is not in the file.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ...data import Document, Mention, Sentence, Span
from ..iob_tags import tagged_names
from ..protocol import UNTYPED
from ..raw_mentions import RawMention, RawText
from .protocol import ShapeError, checked, id_of

_TOKENS = ("tokenized_text", "tokens", "words")
_TAGS = ("ner_tags", "tags", "labels", "ner", "bio", "iob")
MADE_UP = "the text is not in the file: it is the tokens joined by spaces"


def is_gliner(record: Any) -> bool:
    """Whether a value is a training example of GLiNER: {"tokenized_text": [...], "ner": [[0, 2, "drug"]]}."""
    return isinstance(record, dict) and _tokens(record) is not None and _token_ranges(record) is not None


def read_gliner(record: dict[str, Any]) -> list[RawText]:
    """The text of a training example. Numbers of tokens become characters; the last token counts in.

    Raises ShapeError.
    """
    tokens = _tokens(record) or []
    starts, text = _joined(tokens)
    mentions = []
    for first, last, type in _token_ranges(record) or []:
        inside = isinstance(first, int) and isinstance(last, int) and 0 <= first <= last < len(tokens)
        pieces = ((starts[first], starts[last] + len(tokens[last])),) if inside else ((-1, -1),)
        mentions.append(
            RawMention(pieces, str(type) if type else None, None if inside else f"{first}-{last}")
        )
    return [RawText(text, tuple(mentions), id_of(record, "id"), notes=(MADE_UP,))]


def is_tagged(record: Any) -> bool:
    """Whether a value has tokens and tags: {"tokens": ["Aspirin", "."], "ner_tags": ["B-drug", "O"]}."""
    return isinstance(record, dict) and _tokens(record) is not None and _tags(record) is not None


def read_tagged(record: dict[str, Any]) -> list[RawText]:
    """The text of a record with a tag for each token. Raises ShapeError."""
    tokens, tags = _tokens(record) or [], _tags(record) or []
    if len(tokens) != len(tags):
        raise ShapeError(f"{len(tokens)} tokens have {len(tags)} tags")
    if any(not isinstance(tag, str) for tag in tags):
        raise ShapeError(f"the tags are numbers without names: {tags!r:.60}")
    starts, text = _joined(tokens)
    mentions = [RawMention(((start, end),), type) for start, end, type in _tagged(tokens, tags, starts)]
    return [RawText(text, tuple(mentions), id_of(record, "id"), notes=(MADE_UP,))]


def is_spacy_2(record: Any) -> bool:
    """Whether a value is a document of spaCy 2: paragraphs of sentences of tokens with BILUO tags."""
    return isinstance(record, dict) and isinstance(record.get("paragraphs"), list)


def read_spacy_2(record: dict[str, Any]) -> list[Document]:
    """The document, its sentences apart: each has its own offsets. Raises ShapeError."""
    id = id_of(record, "id") or ""
    sentences: list[Sentence] = []
    try:
        for paragraph in record["paragraphs"]:
            for sentence in paragraph["sentences"]:
                tokens = [checked(token["orth"], "orth") for token in sentence["tokens"]]
                tags = [token.get("ner") or "O" for token in sentence["tokens"]]
                starts, text = _joined(tokens)
                mentions = [
                    Mention((Span(start, end),), type, text[start:end])
                    for start, end, type in _tagged(tokens, tags, starts)
                ]
                sentences.append(Sentence(f"{id}.s{len(sentences)}", text).with_mentions(mentions))
    except (KeyError, TypeError, AttributeError) as error:
        raise ShapeError(f"not a document of spaCy 2: {error!s:.60} is missing or of another kind") from None
    return [Document(id, tuple(sentences))]


def _tagged(tokens: list[str], tags: list[str], starts: list[int]) -> list[tuple[int, int, str]]:
    try:
        names = list(tagged_names(tags))
    except ValueError as error:
        raise ShapeError(str(error)) from None
    return [(starts[n.first], starts[n.end - 1] + len(tokens[n.end - 1]), n.type or UNTYPED) for n in names]


def _tokens(record: dict[str, Any]) -> list[str] | None:
    for key in _TOKENS:
        value = record.get(key)
        if isinstance(value, list) and value and all(isinstance(token, str) for token in value):
            return [checked(token, key) for token in value]
    return None


def _token_ranges(record: dict[str, Any]) -> list[list[Any]] | None:
    value = record.get("ner")
    if isinstance(value, list) and all(isinstance(item, list) and len(item) == 3 for item in value):
        return value
    return None


def _tags(record: dict[str, Any]) -> list[Any] | None:
    for key in _TAGS:
        value = record.get(key)
        if isinstance(value, list) and value and all(isinstance(tag, (str, int)) for tag in value):
            return value
    return None


def _joined(tokens: list[str]) -> tuple[list[int], str]:
    """Where each token begins, and the text."""
    starts = [0, *accumulate(len(token) + 1 for token in tokens)]
    return starts, " ".join(tokens)
