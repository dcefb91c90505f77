"""PubTator: title, abstract and the mentions of both, with tabs between their columns.

    354896|t|Lidocaine-induced cardiac asystole.
    354896|a|Intravenous administration of lidocaine ...
    354896<TAB>0<TAB>9<TAB>Lidocaine<TAB>Chemical<TAB>D008012

Offsets are half-open characters of the title, one space, and the abstract. Lines after the fifth column
(identifiers, the single mentions of a composite one, RSIDs) are not read. Relations have no offsets; they are
skipped. A blank line ends a document. Several documents may have one id: paragraphs of an article.
Source of the format: Wei et al. 2013.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..data import Document, Mention
from ..errors import InputError
from ..files import decoded_lines
from .fitting import Fitting
from .passages import (
    NO_CONFIDENCE,
    NO_SENTENCES,
    OUTER,
    DocumentIds,
    Passage,
    document_of,
    joined_parts,
    with_texts,
)
from .protocol import Losses, Reading
from .units import Claim, Pieces, countings, detect

_TEXT = re.compile(r"([^|\t]*)\|([ta])\|(.*)", re.DOTALL)
_RELATION = re.compile(r"[A-Za-z][\w .-]*")
_NUMBER = re.compile(r"\s*[0-9]{1,9}\s*")


class _Line(NamedTuple):
    """A mention as it is in the file. type: empty if there is none."""

    number: int
    pieces: Pieces
    name: str
    type: str

    def claim(self, text: str) -> Claim:
        return Claim(text, self.pieces, self.name or None)


@dataclass(slots=True)
class _Block:
    """The lines of one document."""

    id: str
    title: str | None = None
    abstract: str | None = None
    lines: list[_Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"{self.title or ''} {self.abstract or ''}"


def recognises_pubtator(path: Path, head: str) -> bool:
    """Whether a text file begins with a title."""
    first = next((line for line in head.splitlines() if line.strip()), "")
    return bool(re.match(r"[^|\t\s]+\|[ta]\|", first))


def read_pubtator(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file: title and abstract are passages, in one text."""

    def claims() -> Iterator[Claim]:
        for block in _blocks(path, None):
            yield from (line.claim(block.text) for line in block.lines)

    counting = detect(path, countings(), claims, reading.notify)
    fitting, ids = Fitting(path), DocumentIds(path)
    empty = True
    for block in _blocks(path, fitting):
        empty = False
        text, title = block.text, block.title or ""
        mentions = [
            fitting.mention(
                f"line {line.number}", text, counting.spans(line.claim(text)), line.type, line.name
            )
            for line in block.lines
        ]
        passages = [Passage(0, title), Passage(len(title) + 1, block.abstract or "")]
        yield document_of(
            ids.unique(block.id),
            text,
            [p for p in passages if p.text],
            [m for m in mentions if m is not None],
        )
    if empty:
        raise InputError(f"{path}: no documents: no line of the form ID|t|title or ID|a|abstract")
    ids.tell(reading.notify)
    fitting.tell(reading.notify)


def _blocks(path: Path, fitting: Fitting | None) -> Iterator[_Block]:
    """The documents of a file. fitting: is told of lines that are neither mentions nor relations."""
    block: _Block | None = None
    for number, line in enumerate(decoded_lines(path), start=1):
        line = line.rstrip("\n").removesuffix("\r")
        if not line.strip():
            continue
        if text := _TEXT.fullmatch(line):
            id, part, content = text[1], text[2], text[3]
            if block is not None and (part == "t" or id != block.id or block.abstract is not None):
                yield block
                block = None
            block = block or _Block(id)
            if part == "t":
                block.title = content
            else:
                block.abstract = content
        elif block is None:
            raise InputError(
                f"{path}: line {number}: a line of the form ID|t|title was expected: {line!r:.80}"
            )
        else:
            _add_line(block, number, line, fitting)
    if block is not None:
        yield block


def _add_line(block: _Block, number: int, line: str, fitting: Fitting | None) -> None:
    """Add the mention of a line to its document. A relation, which has no offsets, is skipped."""
    columns = line.split("\t")
    offsets = columns[1:3]
    if len(columns) > 3 and all(map(_NUMBER.fullmatch, offsets)) and columns[0].strip() == block.id.strip():
        type = columns[4].strip() if len(columns) > 4 else ""
        block.lines.append(_Line(number, ((int(offsets[0]), int(offsets[1])),), columns[3], type))
    elif fitting is not None and not (len(columns) > 3 and _RELATION.fullmatch(columns[1])):
        fitting.skip(f"line {number}: {line!r:.80}")


def write_pubtator(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A PubTator file. The title is a document's first passage, or its first line (no mention is cut)."""
    for document in joined_parts(with_texts(documents)):
        text = _with_spaces(document.text or "", losses)
        id = re.sub(r"[|\t\r\n]", "_", document.id)
        losses.add("ids written with _ for characters that PubTator does not allow", id != document.id)
        n_parts = len(document.sentences)
        losses.add(NO_SENTENCES, n_parts if document.in_sentences else max(n_parts - 2, 0))
        cut = _end_of_title(document)
        if cut + 1 < len(text) and text[cut] != " ":
            losses.add("characters between title and abstract written as a space")
        yield f"{id}|t|{text[:cut]}\n{id}|a|{text[cut + 1 :]}\n"
        lines = [_written(mention, text, losses) for _, mention in document.located()]
        yield from (
            "\t".join((id, str(start), str(end), name, type)) + "\n"
            for start, end, type, name in sorted(lines)
        )
        yield "\n"


def _written(mention: Mention, text: str, losses: Losses) -> tuple[int, int, str, str]:
    """Start, end, type and name of a mention."""
    losses.add(OUTER, mention.discontinuous)
    losses.add(NO_CONFIDENCE, mention.confidence is not None)
    name = text[mention.start : mention.end] if mention.discontinuous else _with_spaces(mention.text, losses)
    return mention.start, mention.end, " ".join(mention.type.split()), name


def _end_of_title(document: Document) -> int:
    text, first = document.text or "", document.sentences[:1]
    if not text.strip():
        return 0
    if first and not document.in_sentences and first[0].text != text:
        end = 0 if first[0].start == 1 else first[0].start + len(first[0].text)  # from 1: the title is empty
        if text[end : end + 1].isspace() or end == len(text):
            return end
    breaks = (match.start() for match in re.finditer(r"[\r\n]", text))
    mentions = [mention for _, mention in document.located()]
    return next((at for at in breaks if not any(m.start <= at < m.end for m in mentions)), len(text))


def _with_spaces(text: str, losses: Losses) -> str:
    """The text with spaces for line breaks and tabs; the length does not change."""
    losses.add("line breaks and tabs written as spaces", len(re.findall(r"[\t\r\n]", text)))
    return re.sub(r"[\t\r\n]", " ", text)
