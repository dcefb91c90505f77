"""Sentences to fit an operating point on: of the examples' file, neither shown nor evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from ..data import Document, Sentence
from .splits import text_key


def held_out(
    documents: Sequence[Document], usable: Collection[str], shown: Sequence[Sentence], n: int, seed: int = 0
) -> list[Sentence]:
    """At most n sentences at random: none without text, none twice, none of a document that is shown.

    usable: ids of the sentences that are not evaluated. The order depends only on the seed and the ids, so
    fewer sentences are the first ones of more.
    """
    shown_ids = {sentence.id for sentence in shown}
    shown_texts = {text_key(sentence.text) for sentence in shown}
    candidates = [
        sentence
        for document in documents
        if not any(sentence.id in shown_ids for sentence in document)
        for sentence in document
        if sentence.id in usable and sentence.text.strip()
    ]
    candidates.sort(key=lambda s: hashlib.sha256(f"{seed}\0held out\0{s.id}".encode()).digest())
    chosen: dict[str, Sentence] = {}
    for sentence in candidates:
        key = text_key(sentence.text)
        if key not in shown_texts:
            chosen.setdefault(key, sentence)
        if len(chosen) == n:
            break
    return list(chosen.values())
