"""Annotated documents as JSON: the records of JSON lines, with failures in their place."""

from __future__ import annotations

import json
from typing import Any

from ..data import Document
from ..formats.jsonl import records_of_document


def record_of(document: Document) -> dict[str, Any]:
    """What was found in a document."""
    if document.text is None:
        sentences = list(records_of_document(document))
        for record, sentence in zip(sentences, document, strict=True):
            if sentence.failure is not None:
                record["failure"] = sentence.failure
        return {"id": document.id, "sentences": sentences}
    (record,) = records_of_document(document)
    failures = [
        {"start": s.start, "end": s.start + len(s.text), "why": s.failure} for s in document if s.failure
    ]
    return {**record, "failures": failures} if failures else record


def as_json(value: object) -> bytes:
    """UTF-8, spelt as JSON lines are. A lone surrogate, which UTF-8 has no bytes for, is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
