"""Documents for formats of which a record is a text with its mentions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..data import Document, Mention
from .flat_mentions import count_spellings
from .passages import NO_SENTENCES, joined_parts
from .protocol import Losses

APART = "documents without a text of their own, written as a record for each sentence"


class LabelledText(NamedTuple):
    """A text; the offsets of its mentions count in it."""

    id: str
    text: str
    mentions: tuple[Mention, ...]


def labelled_texts(documents: Iterable[Document], losses: Losses) -> Iterator[LabelledText]:
    """The texts of documents: one for each, or for each sentence if that is all there is."""
    for document in joined_parts(documents):
        if document.text is None:
            losses.add(APART)
            found = [LabelledText(sentence.id, sentence.text, sentence.mentions) for sentence in document]
        else:
            losses.add(NO_SENTENCES, len(document.sentences) * document.in_sentences)
            mentions = tuple(mention for _, mention in document.located())
            found = [LabelledText(document.id, document.text, mentions)]
        for text in found:
            count_spellings(text.text, text.mentions, losses)
            yield text
