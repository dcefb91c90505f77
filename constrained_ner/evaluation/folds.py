"""Folds of documents for cross-validation: the same ones for every recipe, threshold and rule compared.

A document is never split, since its sentences repeat each other's names. Each source (the part of an id
before the first dot: `DDI-DrugBank`, `DDI-MedLine`) is spread evenly, since sources differ in their names.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from ..data import Document

N_FOLDS = 5


def folds_of(documents: Iterable[Document], n: int = N_FOLDS) -> list[list[Document]]:
    """Deal the documents into `n` folds, whatever order they come in.

    Within a source the order is that of the hashes of the ids, which neither the file nor a seed can change.
    """
    by_source: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_source[source_of(document.id)].append(document)
    folds: list[list[Document]] = [[] for _ in range(n)]
    for source in sorted(by_source):
        for number, document in enumerate(sorted(by_source[source], key=lambda d: _digest(d.id))):
            folds[number % n].append(document)
    return folds


def source_of(document_id: str) -> str:
    """Example: source_of("DDI-MedLine.d12") -> "DDI-MedLine"."""
    return document_id.partition(".")[0]


def _digest(document_id: str) -> bytes:
    return hashlib.sha256(document_id.encode()).digest()
