"""What BioC in XML and in JSON have in common: documents of passages, with a place for everything.

A document has passages; a passage has an offset, and a text or sentences, which have offsets and texts. The
offset of a passage, a sentence or an annotation counts from the beginning of the document. It is taken as
written: what lies between two passages is unknown, and becomes blanks. Files that count otherwise are found
out by the words of their annotations (`bioc_offsets`).
Source of the format: Comeau et al. 2013.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from .units import Pieces, length

ESCAPED = "characters as XML escapes them (&apos; is six)"


@dataclass(frozen=True, slots=True)
class Annotation:
    """pieces: start and end of each location. None if they cannot be read. name: None if it is missing."""

    id: str
    type: str
    name: str | None
    pieces: Pieces | None
    confidence: float | None = None


@dataclass(slots=True)
class Block:
    """A text of a document: a passage, or a sentence of one. passage: the offset of the passage."""

    offset: int
    text: str
    passage: int
    annotations: list[Annotation] = field(default_factory=list)
    is_sentence: bool = False


@dataclass(slots=True, eq=False)
class BiocDocument:
    """annotations: those in no block, because they are the document's, or those of a passage in sentences."""

    id: str
    blocks: list[Block] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)

    @property
    def in_sentences(self) -> bool:
        texts = [block for block in self.blocks if block.text]
        return bool(texts) and all(block.is_sentence for block in texts)

    def add_passage(
        self, offset: int, text: str, annotations: list[Annotation], sentences: Sequence[Block]
    ) -> None:
        """Add a passage. Its sentences count only if it has no text of its own, as the format wants it."""
        if text or not any(sentence.text for sentence in sentences):
            inside = [annotation for sentence in sentences for annotation in sentence.annotations]
            self.blocks.append(Block(offset, text, offset, annotations + inside))
            return
        count_in_passage = sentences[0].offset < offset
        for sentence in sentences:
            sentence.offset += offset * count_in_passage
        self.blocks += sentences
        self.annotations += annotations


def confidence_of(value: object) -> float | None:
    """A probability that a file tells; None for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


@dataclass(frozen=True, slots=True)
class Layout:
    """The blocks with a text, in order, and where each begins in the text of the document."""

    blocks: tuple[Block, ...]
    starts: tuple[int, ...]
    n_overlapping: int
    _start_of: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = {id(block): start for block, start in zip(self.blocks, self.starts, strict=True)}
        object.__setattr__(self, "_start_of", starts)

    @property
    def text(self) -> str:
        text, at = [], 0
        for block, start in zip(self.blocks, self.starts, strict=True):
            text += [" " * (start - at), block.text]
            at = start + len(block.text)
        return "".join(text)

    def start_of(self, block: Block) -> int:
        """Where a block begins. One without a text begins nowhere: its own offset."""
        return self._start_of.get(id(block), block.offset)


@lru_cache(maxsize=8)  # all annotations of a document ask for it, for a few units
def layout_of(document: BiocDocument, unit: str) -> Layout:
    """The blocks at their offsets. One that begins before the end of another is put behind it."""
    blocks = sorted((block for block in document.blocks if block.text), key=lambda block: block.offset)
    starts: list[int] = []
    at, counted, n_overlapping = 0, 0, 0
    for block in blocks:
        gap = block.offset - counted
        n_overlapping += gap < 0
        starts.append(at + (gap if gap >= 0 else 1))
        at = starts[-1] + len(block.text)
        size = len(html.escape(block.text)) if unit == ESCAPED else length(block.text, unit)
        counted = max(counted, block.offset) + size
    return Layout(tuple(blocks), tuple(starts), n_overlapping)
