"""Documents for formats of which a record is a text with its mentions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..data import Document, Mention
from .passages import NO_SENTENCES, joined_parts
from .protocol import Losses

APART = "documents without a text of their own, written as a record for each sentence"


class LabelledText(NamedTuple):
    """A text; the offsets of its mentions, which are sorted, count in it."""

    id: str
    text: str
    mentions: tuple[Mention, ...]


def labelled_texts(documents: Iterable[Document], losses: Losses) -> Iterator[LabelledText]:
    """The texts of documents: one for each, or for each sentence if that is all there is."""
    for document in joined_parts(documents):
        if document.text is None:
            losses.add(APART)
            for sentence in document:
                mentions = sentence.with_mentions(sentence.mentions).mentions
                yield LabelledText(sentence.id, sentence.text, mentions)
        else:
            losses.add(NO_SENTENCES, len(document.sentences) * document.in_sentences)
            found = sorted((m for _, m in document.located()), key=lambda m: (m.spans, m.type))
            yield LabelledText(document.id, document.text, tuple(found))
