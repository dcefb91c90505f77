"""An annotated input of any format as sentences with their mentions: to learn from, or as examples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from ..data import Document
from ..formats.documents import read_documents
from ..formats.protocol import Reading
from .sentences import cut_documents


def read_labelled(
    path: str | Path,
    *,
    notify: Callable[[str], None] = warnings.warn,
    types: Mapping[str, str] | None = None,
) -> list[Document]:
    """The documents of an input. Running text is cut into sentences, but never inside a mention.

    types: what the file calls a type -> what we call it. Raises InputError naming file, place and value.
    """
    reading = Reading(notify=notify, report_damaged=notify)
    documents = read_documents(path, reading=reading, types=types)
    return list(cut_documents(documents, keep_mentions=True))
