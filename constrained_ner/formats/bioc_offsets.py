"""What the offsets of BioC annotations count, and from where: found by their words (see `units`).

By the rule of the format they count characters of the document. Some files count bytes or UTF-16 units, or
begin anew in each passage or sentence; in some an apostrophe of a title counts for six in the offset of the
abstract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..data import Span, disjoint
from .bioc_model import ESCAPED, Annotation, BiocDocument, Block, Layout, layout_of
from .units import CODE_POINTS, UNITS, Claim, Pieces, as_code_points, detect, fits


@dataclass(frozen=True, slots=True)
class BiocClaim(Claim):
    """An annotation, held against its block: the text of the claim is that of the block.

    outside: whether it is in no block of the file, so that its offset can count in the document only.
    """

    document: BiocDocument
    block: Block
    outside: bool


@dataclass(frozen=True, slots=True)
class Placing:
    """What the offsets of passages and annotations count, and from where those of annotations do."""

    unit: str = CODE_POINTS
    base: Literal["document", "passage", "sentence"] = "document"
    first: int = 0
    passages: str = ""  # as `unit`

    def __str__(self) -> str:
        first = f", the first one is number {self.first}" if self.first else ""
        passages = f", and those of passages {self.passages}" if self.passages else ""
        base = "" if self.base == "document" else f", in their {self.base}"
        return f"{self.unit}{base}{first}{passages}"

    def layout(self, document: BiocDocument) -> Layout:
        return layout_of(document, self.passages or self.unit)

    def spans(self, claim: BiocClaim) -> tuple[Span, ...] | None:
        block = claim.block
        base = block.offset if not self.passages else self.layout(claim.document).start_of(block)
        if not claim.outside and self.base != "document":
            base -= block.passage if self.base == "passage" else block.offset
        return _spans(
            (as_code_points(block.text, number - base - self.first, self.unit) for number in piece)
            for piece in claim.pieces
        )

    def spans_across(self, claim: BiocClaim) -> tuple[Span, ...] | None:
        """The spans in the document of an annotation that is not inside its block."""
        if self.base != "document":
            return None
        layout = self.layout(claim.document)

        def place(number: int, is_end: bool) -> int | None:
            for block, start in zip(layout.blocks, layout.starts, strict=True):
                offset = start if self.passages else block.offset
                local = as_code_points(block.text, number - offset - self.first, self.unit)
                if local is not None and (local > 0 if is_end else local < len(block.text)):
                    return start + local
            return None

        return _spans((place(start, False), place(end, True)) for start, end in claim.pieces)


def _spans(pieces: Iterable[Iterable[int | None]]) -> tuple[Span, ...] | None:
    spans = []
    for start, end in pieces:
        if start is None or end is None or start >= end:
            return None
        spans.append(Span(start, end))
    return disjoint(spans) or None


_IN_PARTS = tuple(Placing(unit, base) for base in ("passage", "sentence") for unit in UNITS)
_KNOWN = (
    *(Placing(unit) for unit in UNITS),
    *_IN_PARTS,
    Placing(first=1),
    Placing(passages=ESCAPED),
)


def claims_of(documents: Iterable[BiocDocument]) -> Iterator[tuple[BiocClaim, Annotation]]:
    """The annotations that have offsets, in the order of `annotations_of`."""
    for document in documents:
        for block, annotation in annotations_of(document):
            if annotation.pieces is not None:
                holder = block or _holder(document, annotation.pieces)
                yield (
                    BiocClaim(
                        holder.text, annotation.pieces, annotation.name, document, holder, block is None
                    ),
                    annotation,
                )


def annotations_of(document: BiocDocument) -> Iterator[tuple[Block | None, Annotation]]:
    for block in document.blocks:
        yield from ((block, annotation) for annotation in block.annotations)
    yield from ((None, annotation) for annotation in document.annotations)


def _holder(document: BiocDocument, pieces: Pieces) -> Block:
    """The block in which an annotation begins."""
    before = [block for block in document.blocks if block.offset <= pieces[0][0] and block.text]
    return max(before, key=lambda block: block.offset, default=Block(0, "", 0))


def placing_of(
    path: Path, documents: Callable[[], Iterator[BiocDocument]], notify: Callable[[str], None]
) -> Placing:
    """How the offsets of a file are read. documents: gives what is in the file, at each call anew."""
    n_claims = 0

    def claims() -> Iterator[BiocClaim]:
        nonlocal n_claims
        for claim, _ in claims_of(documents()):
            n_claims += 1
            yield claim

    placing = detect(path, _KNOWN, claims, notify)
    if n_claims and placing == _KNOWN[0] and not any(fits(claim, placing.spans(claim)) for claim in claims()):
        return _by_range(path, claims, notify)
    return placing


def _by_range(
    path: Path, claims: Callable[[], Iterator[BiocClaim]], notify: Callable[[str], None]
) -> Placing:
    """How a file reads whose words tell nothing, such as placeholders: every annotation is in its block."""
    for placing in (_KNOWN[0], Placing(base="passage"), Placing(base="sentence")):
        if all(placing.spans(claim) for claim in claims()):
            if placing != _KNOWN[0]:
                notify(
                    f"{path}: reading offsets as {placing}: only then is every annotation inside its text, "
                    "although no name matches"
                )
            return placing
    return _KNOWN[0]
