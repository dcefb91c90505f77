"""GENETAG: tagged words, an id and a sentence a line.

    @@28097223507 the/DT abnormal/JJ GH/NEWGENE secretion/NN

Neighbours with the tag NEWGENE (or NEWGENE1, which separates two mentions) are one mention. The text is made
up: the words with blanks between them. The gold file counts words of these sentences and has no text.
Source of the format: Tanabe et al. 2005.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..data import Document, Mention, Sentence, Span
from ..errors import InputError
from ..files import decoded_lines
from .passages import DocumentIds
from .protocol import Reading

_TAGGED = re.compile(r"@@[0-9]+(?: +\S+/\S+)+\s*")
_GOLD = re.compile(r"@@[0-9]+\|[0-9]+ [0-9]+\|")
_GENE = re.compile(r"NEWGENE[0-9]*")


def recognises_genetag(path: Path, head: str) -> bool:
    """Whether a text begins as tagged sentences, or their gold file, do."""
    first = head.partition("\n")[0]
    return bool(_TAGGED.fullmatch(first) or _GOLD.match(first))


def read_genetag(path: Path, reading: Reading) -> Iterator[Document]:
    """A document for each sentence."""
    ids = DocumentIds(path)
    for number, line in enumerate(decoded_lines(path), start=1):
        if _GOLD.match(line):
            raise InputError(
                f"{path}: line {number}: {line.strip()!r:.60} counts the words of a text that is not here; "
                "read the file of tagged sentences that belongs to it"
            )
        if line.strip():
            if not _TAGGED.fullmatch(line):
                raise InputError(f"{path}: line {number}: not of the form @@ID word/TAG ...: {line!r:.80}")
            yield _document(line, ids)
    reading.notify(f"{path}: its texts are made up: the words of each sentence with a blank between them")
    ids.tell(reading.notify)


def _document(line: str, ids: DocumentIds) -> Document:
    id, *tagged = line.split()
    id = ids.unique(id)
    words, mentions, at = [], [], 0
    last: tuple[int, str] | None = None  # where the mention begins that is being read, and its tag
    for word, _, tag in (token.rpartition("/") for token in [*tagged, "/"]):
        if last is not None and tag != last[1]:
            mentions.append(Span(last[0], at - 1))
            last = None
        if last is None and _GENE.fullmatch(tag):
            last = (at, tag)
        words.append(word)
        at += len(word) + 1
    text = " ".join(words[:-1])
    named = [Mention((span,), "NEWGENE", text[span.start : span.end]) for span in mentions]
    return Document(id, (Sentence(id, text).with_mentions(named),), text)
