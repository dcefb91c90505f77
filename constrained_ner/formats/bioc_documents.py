"""The documents of a BioC file, in XML or JSON, from what is in the file (`bioc_model`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..data import Document, Mention, Span
from ..errors import InputError
from .bioc_model import BiocDocument
from .bioc_offsets import Placing, annotations_of, claims_of, placing_of
from .fitting import Fitting
from .passages import DocumentIds, Passage, document_of
from .protocol import Reading

_LONGEST_GAP = 10_000_000
"""Blanks that a passage may put before itself. More is a mistake, and would fill the memory."""


Raw = BiocDocument | InputError
"""A document of a file, or what is wrong with it."""


def bioc_documents(path: Path, raw: Callable[[], Iterator[Raw]], reading: Reading) -> Iterator[Document]:
    """The documents of a file. raw: gives them as they are in the file, at each call from the beginning.

    Each passage, or each sentence, is a part of the document's text, at its offset. A document that cannot be
    read is reported, and the next one is read. Raises InputError if there is none.
    """

    def checked() -> Iterator[Raw]:
        return (item if isinstance(item, InputError) else _checked(item, path) for item in raw())

    def documents() -> Iterator[BiocDocument]:
        return (item for item in checked() if isinstance(item, BiocDocument))

    placing = placing_of(path, documents, reading.notify)
    fitting, ids = Fitting(path), DocumentIds(path)
    n_overlapping, n_read = 0, 0
    damaged: list[InputError] = []
    for document in checked():
        if isinstance(document, InputError):
            damaged.append(document)
            if n_read:
                _report(damaged, reading)
            continue
        n_read += 1
        _report(damaged, reading)
        layout = placing.layout(document)
        n_overlapping += layout.n_overlapping
        passages = [Passage(s, b.text) for b, s in zip(layout.blocks, layout.starts, strict=True)]
        mentions = _mentions(document, placing, layout.text, fitting)
        id = ids.unique(document.id)
        yield document_of(id, layout.text, passages, mentions, in_sentences=document.in_sentences)
    if not n_read:
        raise damaged[0] if damaged else InputError(f"{path}: no documents in this BioC collection")
    if n_overlapping:
        reading.notify(
            f"{path}: {n_overlapping} passages begin before the end of the one before; they are put behind it"
        )
    ids.tell(reading.notify)
    fitting.tell(reading.notify)


def _report(damaged: list[InputError], reading: Reading) -> None:
    while damaged:
        reading.report_damaged(str(damaged.pop(0)))


def _mentions(document: BiocDocument, placing: Placing, text: str, fitting: Fitting) -> Iterator[Mention]:
    """The mentions, with offsets in the text of the document."""
    for claim, annotation in claims_of([document]):
        spans = placing.spans(claim)
        if spans is None:
            spans = placing.spans_across(claim)
        else:
            start = placing.layout(document).start_of(claim.block)
            spans = tuple(Span(span.start + start, span.end + start) for span in spans)
        place = f"document {document.id!r:.80}, annotation {annotation.id!r:.40}"
        mention = fitting.mention(place, text, spans, annotation.type, annotation.name, annotation.confidence)
        if mention is not None:
            yield mention
    for _, annotation in annotations_of(document):
        if annotation.pieces is None:
            fitting.leave_out(f"document {document.id!r:.80}, annotation {annotation.id!r:.40}: no location")


def _checked(document: BiocDocument, path: Path) -> Raw:
    """The document; an error if the blanks before its passages would fill the memory."""
    end = 0
    for block in sorted(document.blocks, key=lambda block: block.offset):
        if block.text and block.offset - end > _LONGEST_GAP:
            return InputError(
                f"{path}: document {document.id!r:.80}: a passage begins at {block.offset}, and the one "
                f"before ends at {end}"
            )
        end = max(end, block.offset + len(block.text))
    return document
