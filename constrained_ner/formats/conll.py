"""CoNLL: a token a line with its tag, sentences apart by blank lines, in any common dialect.

    # text = Aspirin helps.
    Aspirin<TAB>B-drug
    helps<TAB>O
    .<TAB>O

Columns and notations are found out (`conll_columns`, `iob_tags`). Offsets are those of "# text" where the
tokens lie in it; else the text is made of the tokens, one space between them but where SpaceAfter=No. Then a
sentence is all there is: documents have no text of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from pathlib import Path

from ..data import Document, Mention, Sentence, Span
from ..errors import InputError
from ..files import decoded_lines
from .conll_columns import COMMENT, Columns, columns_of
from .damage import Damage
from .iob_tags import tagged_names
from .protocol import Reading
from .raw_mentions import Notes
from .text import document_id

OWN_SUFFIXES = (".conll", ".conllu", ".conllup", ".conll2003", ".iob", ".iob2", ".bio")
DOCUMENT_BORDER = "-DOCSTART-"
_FIRST_LINES = 2000
"""So many lines tell what the columns are."""

_SENTENCES_AT_ONCE = 2000
"""A document with more comes in parts with the same id."""

_WIDEST_GAP = 100_000
"""More characters between two tokens or sentences say that these are no offsets of one text."""

_PART_OF_WORD = re.compile(r"[0-9]+[-.][0-9]+")
"""The number of a line of CoNLL-U that spans two words, or stands for one that is not in the text."""


@dataclass(slots=True)
class _Block:
    """The lines of a sentence. comments: what follows "# key =". rows: the cells of each token."""

    document: int
    line: int
    comments: dict[str, str] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    wrong: str = ""

    def __bool__(self) -> bool:
        return bool(self.rows or self.wrong or "text" in self.comments)


def read_conll(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file: what -DOCSTART- or "# newdoc" separates, else one.

    A sentence with a line that cannot be read is reported and left out. Raises InputError if the columns
    cannot be told, or no sentence can be read.
    """
    columns = _columns(path, reading)
    notes, damage = Notes(path), Damage(path, reading)
    several = _has_several_documents(path)
    number = 0
    for _, blocks in groupby(_blocks(path, columns), key=lambda block: block.document):
        sentences = _sentences(blocks, columns, notes, damage)
        first = next(sentences, None)
        if first is None:
            continue
        number += 1
        default = f"{document_id(path)}.{number}" if several else document_id(path)
        id = first[0].get("newdoc id") or default
        yield from _documents(id, chain([first], sentences))
    damage.finish()
    notes.tell(reading.notify)


def recognises_conll(path: Path, head: str) -> bool:
    """Whether a file is one of tokens with tags, if its suffix does not say so, and no table and no text."""
    if path.suffix.lower() in OWN_SUFFIXES:
        return True
    lines = re.split(r"\r?\n", head)[:_FIRST_LINES]
    try:
        columns = columns_of(path, lines, None)
    except InputError:
        return False
    rows = [cells for line in lines if len(cells := columns.cells(line)) == columns.n]
    tags = {row[n] for row in rows for n in columns.tags}
    # "Vitamin B" is no token with its tag.
    return columns.separator == "|" or ("O" in tags and any(re.match("[BIESLU][-_]", tag) for tag in tags))


def _columns(path: Path, reading: Reading) -> Columns:
    lines = [line.rstrip("\r\n") for line in islice(decoded_lines(path), _FIRST_LINES)]
    if not any(map(str.strip, lines)):
        raise InputError(f"{path}: the file is empty")
    columns = columns_of(path, lines, reading.columns)
    if not columns.tags:
        reading.notify(f"{path}: no column of tags: the text is read without mentions")
    if len(columns.tags) > 1:
        numbers = " and ".join(str(n + 1) for n in columns.tags)
        reading.notify(f"{path}: columns {numbers} hold tags: the mentions of all are read")
    return columns


def _begins_document(line: str) -> bool:
    return line.startswith((DOCUMENT_BORDER, "# newdoc"))


def _has_several_documents(path: Path) -> bool:
    borders = islice(filter(_begins_document, decoded_lines(path)), 2)
    return sum(1 for _ in borders) > 1


# ---- lines to blocks


def _blocks(path: Path, columns: Columns) -> Iterator[_Block]:
    """The sentences of a file as they are there. A sentence that has a wrong line says so."""
    document = 0
    block = _Block(document, 1)
    for number, ended in enumerate(decoded_lines(path), start=1):
        line = ended.rstrip("\r\n")
        begins = _begins_document(line)
        if begins or not line.strip() or (columns.separator == "|" and block.rows):
            if block:
                yield block
            document += begins
            block = _Block(document, number)
        if line.startswith(DOCUMENT_BORDER) or not line.strip():
            continue
        if columns.is_comment(line):
            if match := COMMENT.match(line):
                block.comments[match[1]] = match[2]
        elif columns.separator == "|":
            _add_rows(
                block, [item.rsplit("|", (columns.n or 1) - 1) for item in line.split()], number, columns
            )
        else:
            _add_rows(block, [columns.cells(line)], number, columns)
    if block:
        yield block


def _add_rows(block: _Block, rows: Iterable[list[str]], number: int, columns: Columns) -> None:
    for cells in rows:
        if len(cells) != columns.n or not cells[columns.token].strip():
            n = (
                f"{len(cells)} columns instead of {columns.n}"
                if len(cells) != columns.n
                else "an empty token"
            )
            separator = "tabs" if columns.separator == "\t" else "blanks"
            shown = " ".join(cells)
            block.wrong = block.wrong or f"line {number}: {n} (separated by {separator}): {shown!r:.60}"
        elif not (columns.token and _PART_OF_WORD.fullmatch(cells[0])):
            block.rows.append(cells)


# ---- blocks to sentences


def _sentences(
    blocks: Iterable[_Block], columns: Columns, notes: Notes, damage: Damage
) -> Iterator[tuple[dict[str, str], Sentence]]:
    """The sentences, without ids, each with its comments. Damaged ones are reported."""
    for block in blocks:
        if not block.wrong:
            try:
                sentence = _sentence(block, columns, notes)
            except ValueError as error:
                block.wrong = f"sentence at line {block.line}: {error}"
        if block.wrong:
            damage.add(f"{block.wrong}; the sentence is left out")
        else:
            damage.read()
            yield block.comments, sentence


def _sentence(block: _Block, columns: Columns, notes: Notes) -> Sentence:
    """A sentence without an id. Raises ValueError for what is no tag."""
    rows = block.rows
    tokens = [row[columns.token] for row in rows]
    text = block.comments.get("text")
    starts = None if text is None else _starts_in(text, tokens)
    if text is None and (placed := _placed(rows, tokens, columns.start)):
        notes.add(["the blanks are not in the file: the tokens stand at their offsets"], f"line {block.line}")
        text, starts = placed
        block.comments["start"] = rows[0][columns.start or 0]
    elif text is None or starts is None:
        note = "the texts are not in the file: they are the tokens joined by spaces"
        if text is not None:
            note = 'the tokens are not those of "# text": the text is the tokens joined by spaces'
        notes.add([note], f"line {block.line}")
        text, starts = _joined(tokens, rows, columns.misc)
    mentions = {
        Mention((span,), name.type, text[span.start : span.end])
        for layer in columns.tags
        for name in tagged_names(row[layer] for row in rows)
        for span in [Span(starts[name.first], starts[name.end - 1] + len(tokens[name.end - 1]))]
    }
    return Sentence("", text).with_mentions(mentions)


def _starts_in(text: str, tokens: Sequence[str]) -> list[int] | None:
    """Where each token begins in a text that has nothing but them and blanks; None if it has not."""
    starts, at = [], 0
    for token in tokens:
        while text[at : at + 1].isspace():
            at += 1
        if not text.startswith(token, at):
            return None
        starts.append(at)
        at += len(token)
    return None if text[at:].strip() else starts


def _placed(
    rows: Sequence[Sequence[str]], tokens: Sequence[str], column: int | None
) -> tuple[str, list[int]] | None:
    """A text of tokens with offsets, blanks between them; None if they have none or are not in order."""
    if column is None or not rows or not all(row[column].isdecimal() for row in rows):
        return None
    text, starts = "", []
    for token, row in zip(tokens, rows, strict=True):
        starts.append(int(row[column]) - int(rows[0][column]))
        if not len(text) <= starts[-1] <= len(text) + _WIDEST_GAP:
            return None
        text = text.ljust(starts[-1]) + token
    return text, starts


def _joined(tokens: Sequence[str], rows: Sequence[Sequence[str]], misc: int | None) -> tuple[str, list[int]]:
    """A text made of tokens, and where each begins."""
    text, starts, between = "", [], ""
    for token, row in zip(tokens, rows, strict=True):
        starts.append(len(text) + len(between))
        text += between + token
        between = "" if misc is not None and "SpaceAfter=No" in row[misc] else " "
    return text, starts


# ---- sentences to documents


def _documents(id: str, sentences: Iterable[tuple[dict[str, str], Sentence]]) -> Iterator[Document]:
    """A document; its parts, if it has many sentences.

    It has a text of its own if each sentence says where in it it begins ("# start = 17"). After a part
    without a text no other has one.
    """
    number, placed, sentences = 0, True, iter(sentences)
    while part := list(islice(sentences, _SENTENCES_AT_ONCE)):
        named = []
        for comments, sentence in part:
            start = comments.get("start", "")
            named.append(
                Sentence(
                    comments.get("sent_id") or f"{id}.s{number}",
                    sentence.text,
                    sentence.mentions,
                    start=int(start) if start.isascii() and start.isdigit() and len(start) < 10 else -1,
                )
            )
            number += 1
        document = _document(id, named, number == len(part), placed)
        placed = document.text is not None
        yield document


def _document(id: str, sentences: Sequence[Sentence], is_first: bool, placed: bool) -> Document:
    """A part. placed: whether it may have a text of its own."""
    begin, text = 0 if is_first else sentences[0].start, ""
    for sentence in sentences:
        gap = sentence.start - begin - len(text)
        if not placed or sentence.start < 0 or not 0 <= gap <= _WIDEST_GAP:
            apart = (Sentence(s.id, s.text, s.mentions) for s in sentences)
            return Document(id, tuple(apart), continues=not is_first)
        text += " " * gap + sentence.text
    inside = (Sentence(s.id, s.text, s.mentions, start=s.start - begin) for s in sentences)
    return Document(id, tuple(inside), text, start=begin, continues=not is_first)
