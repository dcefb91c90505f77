"""The shapes of JSON records that are read, a module for each family. To add one, add a line to the table.

A record is of the first shape that fits. One of none is refused with its keys: read as a text without
mentions, what somebody annotated would be lost without a word.
"""

from __future__ import annotations

from typing import Any

from . import label_studio, spans, tokens, uima
from .protocol import IN_UTF_16, Shape, ShapeError, keys_of


def _has(*keys: str) -> Any:
    return lambda record: isinstance(record, dict) and all(key in record for key in keys)


SHAPES = (
    Shape("a UIMA CAS", uima.is_cas, uima.read_cas, IN_UTF_16),
    Shape("tasks of Label Studio", label_studio.is_task, label_studio.read_task),
    Shape("rows of Label Studio", label_studio.is_row, label_studio.read_row),
    Shape("training examples of GLiNER", tokens.is_gliner, tokens.read_gliner),
    Shape("documents of spaCy 2", tokens.is_spacy_2, tokens.read_spacy_2),
    Shape("training examples of spaCy 2", spans.is_pair, spans.read_pair),
    Shape("texts with mentions", spans.has_mentions, spans.read_spans, told=False),
    Shape("tokens with tags", tokens.is_tagged, tokens.read_tagged),
    Shape("texts", spans.has_text, spans.read_text, told=False),
)


def shape_of(record: Any) -> Shape:
    """The shape of a record. Raises ShapeError, naming its keys, if it is of none."""
    for shape in SHAPES:
        if shape.fits(record):
            return shape
    if not isinstance(record, dict):
        raise ShapeError(f"not a record with a text: {record!r:.60}")
    if not isinstance(record.get("text"), str):
        raise ShapeError(f"no text (its keys: {keys_of(record)}); name its field with --text-field")
    raise ShapeError(f"its mentions are of no shape that is known (its keys: {keys_of(record)})")
