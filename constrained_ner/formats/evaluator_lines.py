"""Evaluator lines: one mention a line, `sentence|offsets|name|type`, as the DDI evaluator reads them.

    d1.s0|0-6|Aspirin|drug
    d1.s0|12-15;20-26|iron tablets|group

The offsets are those of the DDI corpus: code points, the last one included, and the pieces of a
discontinuous name separated by semicolons. Only this module and `ddi` convert them to half-open spans.
Source of the format: SemEval-2013 task 9.1 (Segura-Bedmar et al. 2013).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from ..data import Document, Mention, Span, disjoint, single_line
from ..errors import InputError
from ..files import read_lines
from .protocol import Losses

UNUSABLE = re.compile(r"[|\r\n]")
"""What evaluator lines do not allow in an id or a type."""

# Nine digits are enough for any text, and Python refuses to convert numbers that are too long.
# Some corpora separate pieces by commas.
_SEPARATOR = re.compile(r"\s*[;,]\s*")
_PIECE = re.compile(r"\s*([0-9]{1,9})\s*-\s*([0-9]{1,9})\s*")


def write_evaluator_lines(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The text of an evaluator file. Offsets of running text count in its document, and name it."""
    for document in documents:
        for line in evaluator_lines(document):
            yield f"{line}\n"
        losses.add(
            "types with a vertical bar or a line break, which becomes _",
            sum(bool(UNUSABLE.search(m.type)) for _, m in document.located()),
        )


def evaluator_lines(document: Document) -> Iterator[str]:
    """The mentions of a document, text by text and sorted by offset, without line ends."""
    for text in document.texts():
        for mention in sorted(text.mentions, key=lambda m: (m.spans, m.type)):
            yield format_line(text.id, mention)


def format_line(sentence_id: str, mention: Mention) -> str:
    """One mention as a line, without the line end.

    A line break in the name becomes a space, because the format cannot quote.

    Example: format_line("d1.s0", Mention((Span(0, 7),), "drug", "Aspirin")) -> "d1.s0|0-6|Aspirin|drug"
    """
    type_name = UNUSABLE.sub("_", mention.type)
    return f"{sentence_id}|{format_offsets(mention.spans)}|{single_line(mention.text)}|{type_name}"


def format_offsets(spans: Iterable[Span]) -> str:
    """Spans with inclusive ends. Example: (Span(0, 6), Span(10, 14)) -> "0-5;10-13"."""
    return ";".join(f"{span.start}-{span.end - 1}" for span in spans)


@lru_cache(maxsize=4096)  # the same few offsets again and again
def parse_offsets(value: str) -> tuple[Span, ...]:
    """The inverse of `format_offsets`, in order; pieces may also be separated by commas.

    Raises ValueError for anything else.
    """
    spans = []
    for piece in _SEPARATOR.split(value):
        match = _PIECE.fullmatch(piece)
        if not match:
            raise ValueError(f"offsets {value!r:.80} are not of the form start-end or start-end;start-end")
        first, last = int(match[1]), int(match[2])
        if last < first:
            raise ValueError(f"offsets {value!r:.80} end before they start")
        spans.append(Span(first, last + 1))
    return disjoint(spans)


def read_predictions(path: str | Path) -> list[tuple[str, Mention]]:
    """The mentions of an evaluator file with their sentence ids, in order; repeated lines are kept.

    A name may contain `|`: id and offsets are split off from the left, the type from the right. Ids are
    verbatim, blanks included. Blank lines are skipped. Raises InputError for any other line.
    """
    with closing(read_lines(path)) as lines:
        return [
            _parse_line(line.rstrip(), f"{path}: line {number}")
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]


def _parse_line(line: str, place: str) -> tuple[str, Mention]:
    try:
        sentence_id, offsets, rest = line.split("|", 2)
        text, type_name = rest.rsplit("|", 1)
    except ValueError:
        raise InputError(f"{place}: not of the form sentence|start-end|text|type: {line!r:.120}") from None
    if not sentence_id or not type_name:
        raise InputError(f"{place}: the {'type' if sentence_id else 'sentence id'} is missing: {line!r:.120}")
    try:
        spans = parse_offsets(offsets)
    except ValueError as error:
        raise InputError(f"{place}: {error}: {line!r:.120}") from None
    return sentence_id, Mention(spans, type_name, text)
