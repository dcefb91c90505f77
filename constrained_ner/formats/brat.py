"""BRAT: a text, and beside it a file of annotations (.ann; in the shared tasks of BioNLP .a1 and .a2).

    T1<TAB>Chemical 0 7<TAB>Aspirin
    T2<TAB>Group 9 12;20 27<TAB>iron tablets

Offsets are half-open characters of the text; the pieces of a discontinuous mention are joined with a space in
the last column. Relations, events, attributes, notes and equivalences are skipped.
Source of the format: https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..data import Document, Mention, Span, covered_text, single_line
from ..errors import InputError
from ..files import decoded, decoded_lines
from .fitting import Fitting
from .numbered_names import NumberedNames
from .passages import AS_SPELT, NO_CONFIDENCE, NO_SENTENCES, kept_mark, with_texts
from .protocol import Losses, Reading
from .text import document_id
from .units import Claim, Pieces, countings, detect, fits, same_words

ANNOTATIONS = (".ann", ".a1", ".a2")

_MENTION = re.compile(
    r"(T[^\t]*)\t *([^ \t]*) +([0-9]{1,9} [0-9]{1,9}(?:;[0-9]{1,9} [0-9]{1,9})*) *(?:\t(.*))?"
)
_OTHER = re.compile(r"(?:[REAMN]\S*|\*|#\S*)\t.*")
"""Relations, events, attributes, modifications, normalisations, equivalences, notes."""

_LONGEST_NAME = 200
"""Bytes of the name of a file. File systems allow 255, number and suffix included."""


class _Line(NamedTuple):
    """A mention as it is in its file. place: file and line. name: None if the column is missing."""

    place: str
    type: str
    pieces: Pieces
    name: str | None


def recognises_brat(path: Path, head: str) -> bool:
    """Whether a file is one of a pair. A text without annotations beside it is plain text."""
    return path.suffix.lower() in ANNOTATIONS or bool(_annotation_files(path))


def read_brat(path: Path, reading: Reading) -> Iterator[Document]:
    """The document of a pair, in one passage. path: either file of it."""
    text_file = path if path.suffix.lower() == ".txt" else path.with_suffix(".txt")
    if not text_file.exists():
        raise InputError(f"{path}: its text is missing: there is no {text_file.name} beside it")
    text = decoded(text_file)
    fitting = Fitting(path)
    lines = [line for file in _annotation_files(text_file) for line in _mention_lines(file, text, fitting)]
    claims = [Claim(text, line.pieces, line.name) for line in lines]
    counting = detect(path, countings(), lambda: claims, reading.notify)
    fitting_words = [fits(claim, counting.spans(claim)) for claim in claims if claim.name is not None]
    if len(fitting_words) > 1 and not any(fitting_words):
        raise InputError(
            f"{path}: does not fit {text_file.name}: none of its {len(fitting_words)} mentions has its words "
            f"where it says ({lines[0].place}: {lines[0].name!r:.60})"
        )
    mentions = [
        fitting.mention(line.place, text, counting.spans(claim), line.type, line.name)
        for line, claim in zip(lines, claims, strict=True)
    ]
    yield Document.of_text(document_id(text_file), text, (m for m in mentions if m is not None))
    fitting.tell(reading.notify)


def _annotation_files(path: Path) -> list[Path]:
    return [file for suffix in ANNOTATIONS if (file := path.with_suffix(suffix)).is_file()]


def _mention_lines(path: Path, text: str, fitting: Fitting) -> Iterator[_Line]:
    """The mentions of a file. fitting: is told of lines that are not of the format."""
    held: _Line | None = None
    for number, line in enumerate(decoded_lines(path), start=1):
        line = line.rstrip("\n").removesuffix("\r")
        match = _MENTION.fullmatch(line)
        if held is not None and match is None and (whole := _with_rest(held, line, text)):
            held = whole
            continue
        if held is not None:
            yield held
        held = None
        place = f"{path.name}: line {number}"
        if match is not None:
            held = _Line(place, match[2], _pieces(match[3]), match[4] or None)
        elif line.startswith("T") and "\t" in line:
            fitting.leave_out(f"{place}: not of the form T1<tab>type start end<tab>text: {line!r:.80}")
        elif line.strip() and not _OTHER.fullmatch(line):
            fitting.skip(f"{place}: {line!r:.80}")
    if held is not None:
        yield held


def _pieces(offsets: str) -> Pieces:
    numbers = [[int(number) for number in piece.split()] for piece in offsets.split(";")]
    return tuple((start, end) for start, end in numbers)


def _with_rest(held: _Line, line: str, text: str) -> _Line | None:
    """The mention whose words go on in the next line, because a tool wrote their line break as it is."""
    if held.name is None or _OTHER.fullmatch(line):
        return None
    words = [re.escape(word) for word in f"{held.name}\n{line}".split()]
    (start, end), *more = held.pieces
    if more or not line.strip() or not re.search(r"\s+".join(words), text[max(0, start - 50) : 4 * end + 50]):
        return None
    return held._replace(name=f"{held.name}\n{line}")


@dataclass(slots=True)
class _FileNames:
    """Names of files made of document ids: of letters, digits, "_", "-" and ".", and different from another,
    whatever their case."""

    losses: Losses
    _taken: NumberedNames = field(default_factory=lambda: NumberedNames("-"))

    def of(self, id: str) -> str:
        safe = re.sub(r"[^\w.-]", "_", id).encode()[:_LONGEST_NAME].decode(errors="ignore")
        safe = re.sub(r"^\.+", "_", safe) or "document"
        name = safe + self._taken.of(safe.casefold()).removeprefix(safe.casefold())
        self.losses.add("document ids changed to be names of files", name != id)
        return name


def write_brat(documents: Iterable[Document], losses: Losses) -> Iterator[tuple[str, str]]:
    """NAME.txt and NAME.ann for each document, where NAME is its id."""
    names = _FileNames(losses)
    id, name, number = None, "", 0
    for document in with_texts(documents):
        if not (document.continues and document.id == id):
            id, name, number = document.id, names.of(document.id), 0
        n_parts = len(document.sentences)
        losses.add(NO_SENTENCES, n_parts if document.in_sentences or n_parts > 1 else 0)
        text = document.text or ""
        lines = sorted(filter(None, (_written(m, document, losses) for _, m in document.located())))
        yield f"{name}.txt", text if document.start else "".join(kept_mark([text]))
        yield (
            f"{name}.ann",
            "".join(
                f"T{number + n}\t{type} {_offsets(pieces, document.start)}\t{words}\n"
                for n, (pieces, type, words) in enumerate(lines, start=1)
            ),
        )
        number += len(lines)


def _written(
    mention: Mention, document: Document, losses: Losses
) -> tuple[tuple[Span, ...], str, str] | None:
    """Pieces, type and words of a mention; None if it has no words."""
    text = document.text or ""
    mention = mention.moved(-document.start) if document.start else mention
    pieces = _pieces_in_lines(mention, text)
    losses.add(NO_CONFIDENCE, mention.confidence is not None)
    losses.add("mentions of nothing but line breaks left out", not pieces)
    losses.add("mentions across a line break written in pieces", bool(pieces) and pieces != mention.spans)
    return (pieces, _type(mention, losses), _words(mention, pieces, text, losses)) if pieces else None


def _pieces_in_lines(mention: Mention, text: str) -> tuple[Span, ...]:
    """The spans, cut at line breaks."""
    return tuple(
        Span(span.start + match.start(), span.start + match.end())
        for span in mention.spans
        for match in re.finditer(r"[^\r\n]+", text[span.start : span.end])
    )


def _offsets(pieces: tuple[Span, ...], start: int) -> str:
    return ";".join(f"{piece.start + start} {piece.end + start}" for piece in pieces)


def _type(mention: Mention, losses: Losses) -> str:
    type = re.sub(r"\s", "_", mention.type)
    losses.add("types written with _ for blanks", type != mention.type)
    return type


def _words(mention: Mention, pieces: tuple[Span, ...], text: str, losses: Losses) -> str:
    """The words of a mention on one line: the text's, or BRAT and the reader take it for that of another."""
    losses.add(AS_SPELT, not same_words(covered_text(text, mention.spans), mention.text))
    return single_line(covered_text(text, pieces)).replace("\t", " ")
