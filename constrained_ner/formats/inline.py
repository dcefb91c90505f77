"""Text with its mentions in tags, a sentence a line.

    Effect of <drug>aspirin</drug> on <group>beta-blockers</group>.
    A p &lt; 0.05 &amp; more.

The name of a tag is the type; one that cannot be a name is an attribute: `<entity type="two words">`. Tags
may nest, not cross. Lines that a tag lies across are one sentence. Without the tags, and with the five
entities of XML and numbers decoded, a file is the text of one document. A literal `<` that begins no tag is
text. Line breaks inside a sentence are numbers.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import Document, Mention, Sentence, Span, disjoint
from ..errors import InputError
from ..files import decoded_lines
from .passages import AS_SPELT, NO_CONFIDENCE, OUTER, Passage, document_of, kept_mark, with_texts
from .protocol import Losses, Reading
from .text import document_id

_NAME = r"[A-Za-z_][\w.:-]*"
_ATTRIBUTE = r"""\s+[\w.:-]+\s*=\s*(?:"[^"]*"|'[^']*')"""
_TOKEN = re.compile(
    rf"(?P<tag><(?P<end>/)?(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE})*)\s*(?P<empty>/)?>)"
    r"|&(?:lt|gt|amp|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});"
)
_TYPE = re.compile(r"""\s(?:type|TYPE)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_GENERIC = "entity"
"""The tag of a mention whose type is an attribute."""

_PART = 1_000_000
"""Characters after which a document goes on in another part, so that a file of any size can be read."""


@dataclass(frozen=True, slots=True)
class _Tag:
    """An opening tag, and where in the text it stands."""

    name: str
    type: str
    start: int
    line: int


@dataclass(slots=True)
class _Part:
    """What was read of a document. before: characters of it before this part. n_sentences: those before it.
    found: start, end and type of mentions. open: tags that are not closed yet."""

    before: int = 0
    n_sentences: int = 0
    text: str = ""
    lines: list[Passage] = field(default_factory=list)
    found: list[tuple[int, int, str]] = field(default_factory=list)
    open: list[_Tag] = field(default_factory=list)

    def document(self, id: str) -> Document:
        """A sentence is a line, or the lines that a mention lies across."""
        mentions = [
            Mention((Span(start, end),), type, self.text[start:end])
            for start, end, type in self.found
            if start < end
        ]
        whole = disjoint(
            [*(Span(line.start, line.end) for line in self.lines), *(m.spans[0] for m in mentions)]
        )
        lines = [Passage(span.start, self.text[span.start : span.end]) for span in whole]
        document = document_of(id, self.text, lines, mentions, in_sentences=True, n_before=self.n_sentences)
        return replace(document, start=self.before, continues=self.before > 0)


def read_inline(path: Path, reading: Reading) -> Iterator[Document]:
    """The document of a file, in sentences, a line each. A long one comes in parts."""
    part, n_empty = _Part(), 0
    held: list[str] = []
    start = 0
    for number, line in enumerate(decoded_lines(path), start=1):
        content = line.rstrip("\n").removesuffix("\r")
        text = _read_line(content, start, part, f"{path}: line {number}", number)
        if text:
            part.lines.append(Passage(start, text))
        held += text, line[len(content) :]
        start += len(held[-2]) + len(held[-1])
        if start >= _PART and not part.open:
            part.text = "".join(held)
            n_empty += sum(begin == end for begin, end, _ in part.found)
            document = part.document(document_id(path))
            yield document
            part, held = _Part(part.before + start, part.n_sentences + len(document.sentences)), []
            start = 0
    if part.open:
        raise InputError(f"{path}: line {part.open[-1].line}: <{part.open[-1].name:.60}> is not closed")
    part.text = "".join(held)
    n_empty += sum(begin == end for begin, end, _ in part.found)
    if not part.before and not part.text:
        raise InputError(f"{path}: no text in this file")
    if part.text:
        yield part.document(document_id(path))
    if n_empty:
        reading.notify(f"{path}: {n_empty} mentions are empty and are left out")


def _read_line(line: str, start: int, part: _Part, place: str, number: int) -> str:
    """The text of a line; adds its mentions to the part. start: where the line begins in the text."""
    pieces, at, n = [], 0, start
    for token in _TOKEN.finditer(line):
        pieces.append(line[at : token.start()])
        n += len(pieces[-1])
        at = token.end()
        if token["tag"] is None:
            pieces.append(_decoded(token[0]))
            n += len(pieces[-1])
        elif token["end"]:
            if not part.open or part.open[-1].name != token["name"]:
                inside = f"<{part.open[-1].name:.60}> is open" if part.open else "no tag is open"
                raise InputError(f"{place}: </{token['name']:.60}> closes nothing: {inside}")
            tag = part.open.pop()
            part.found.append((tag.start, n, tag.type))
        elif not token["empty"]:  # an empty element is a relation, or the like
            part.open.append(_Tag(token["name"], _type(token), n, number))
    return "".join(pieces) + line[at:]


def _decoded(reference: str) -> str:
    """The character of an entity or a number; as it is written if there is none."""
    if reference[1] != "#":
        return html.unescape(reference)
    code = int(reference[3:-1], 16) if reference[2] in "xX" else int(reference[2:-1])
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else reference


def _type(token: re.Match[str]) -> str:
    attribute = _TYPE.search(token["attributes"] or "")
    return html.unescape(attribute[1] or attribute[2] or "") if attribute else token["name"]


# ---- writing


def write_inline(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A line a sentence, one document after another. What was a line break between sentences stays one."""
    return kept_mark(_lines(documents, losses))


def _lines(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    last: tuple[str, bool] | None = None  # id of the document before, and whether its last line ended
    for document in with_texts(documents):
        if last is not None and not (document.continues and document.id == last[0]):
            losses.add("borders between documents left out")
            if not last[1]:
                yield "\n"
        ended = False
        for piece in filter(None, _pieces(document, losses)):
            yield piece
            ended = piece.endswith("\n")
        last = (document.id, ended)
    if last is not None and not last[1]:
        yield "\n"


def _pieces(document: Document, losses: Losses) -> Iterator[str]:
    """The sentences of a document and what is between them, as text of the file."""
    text, at = document.text or "", 0
    for n, sentence in enumerate(document):
        gap = text[at : sentence.start]
        if "\n" not in gap and n:
            losses.add("blanks between sentences written as a line break", gap != "\n")
            gap = "\n"
        yield _escaped(gap)
        yield _tagged(sentence, document.in_sentences, losses)
        at = sentence.start + len(sentence.text)
    yield _escaped(text[at:])


def _tagged(sentence: Sentence, one_line: bool, losses: Losses) -> str:
    """The sentence with its tags. Mentions nest; of two that cross, the later one is left out."""
    written: list[str] = []
    ends: list[tuple[int, str]] = []  # the open tags, the innermost last
    at = 0

    def copy_to(place: int) -> None:
        nonlocal at
        plain = _escaped(sentence.text[at:place])
        in_line = one_line or ends  # a tag ends in the line in which it began
        written.append(plain.replace("\r", "&#13;").replace("\n", "&#10;") if in_line else plain)
        at = place

    for mention in sorted(sentence.mentions, key=lambda m: (m.start, -m.end, m.type)):
        while ends and ends[-1][0] <= mention.start:
            copy_to(ends[-1][0])
            written.append(ends.pop()[1])
        if ends and mention.end > ends[-1][0]:
            losses.add("mentions left out because they cross an earlier one")
            continue
        losses.add(OUTER, mention.discontinuous)
        losses.add(NO_CONFIDENCE, mention.confidence is not None)
        losses.add(
            AS_SPELT, not mention.discontinuous and mention.text != sentence.text[mention.start : mention.end]
        )
        copy_to(mention.start)
        opening, closing = _tags(mention.type)
        written.append(opening)
        ends.append((mention.end, closing))
    while ends:
        copy_to(ends[-1][0])
        written.append(ends.pop()[1])
    copy_to(len(sentence.text))
    return "".join(written)


def _tags(type: str) -> tuple[str, str]:
    if re.fullmatch(_NAME, type):
        return f"<{type}>", f"</{type}>"
    return f'<{_GENERIC} type="{_attribute(type)}">', f"</{_GENERIC}>"


def _attribute(value: str) -> str:
    return re.sub(r"[\r\n]", lambda match: f"&#{ord(match[0])};", html.escape(value))


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"\r(?!\n)", "&#13;", text)
