"""The DDI corpus: XML in, evaluator lines out. The one place where ends are inclusive.

A file holds `<sentence id text>` elements, usually inside `<document id>`, each with its entities:

    <sentence id="d1.s0" text="Aspirin and iron.">
        <entity id="d1.s0.e0" charOffset="0-6" type="drug" text="Aspirin"/>
    </sentence>

`charOffset` counts code points and includes the last; a discontinuous name has several pieces, `0-5;10-13`.
The evaluator reads one name a line, `sentence|start-end|text|type`: `d1.s0|0-6|Aspirin|drug`.
Source of the format: Herrero-Zazo et al. 2013, and the SemEval-2013 task 9.1 that was built on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml

from ..data import Document, Mention, Sentence, Span, covered_text, single_line
from ..errors import InputError

# Nine digits reach past any text, and keep int() away from the lengths that Python refuses to convert.
_OFFSETS = re.compile(r"[0-9]{1,9}-[0-9]{1,9}(;[0-9]{1,9}-[0-9]{1,9})*")


def read_ddi(path: str | Path) -> list[Document]:
    """The documents of one XML file, or of every `*.xml` below a folder in the order of the paths.

    Texts are verbatim, and so are the names and types of the entities, even where the name differs from
    the text at its offsets. Raises InputError for everything that does not fit, naming file, sentence
    and value. External entities and entity definitions are refused, so a file cannot read others or
    blow up in memory. Sentences outside any document are given one with the name of the file.
    """
    path = Path(path)
    seen: dict[str, Path] = {}  # sentence id -> the file that has it
    documents = [document for file in _xml_files(path) for document in _read_file(file, seen)]
    if not documents:
        raise InputError(f"{path}: no <sentence> elements")
    return documents


def evaluator_lines(sentence: Sentence) -> Iterator[str]:
    """The mentions of a sentence as the evaluator's lines, without line ends, sorted by offset."""
    for mention in sorted(sentence.mentions, key=lambda m: (m.spans, m.type)):
        yield format_line(sentence.id, mention)


def format_line(sentence_id: str, mention: Mention) -> str:
    """One mention as the evaluator reads it.

    A line break inside the name becomes a space: the format has one name a line and no way to quote.

    Example: format_line("d1.s0", Mention((Span(0, 7),), "drug", "Aspirin")) -> "d1.s0|0-6|Aspirin|drug"
    """
    return f"{sentence_id}|{format_offsets(mention.spans)}|{single_line(mention.text)}|{mention.type}"


def format_offsets(spans: Iterable[Span]) -> str:
    """Spans as the corpus writes them. Example: (Span(0, 6), Span(10, 14)) -> "0-5;10-13"."""
    return ";".join(f"{span.start}-{span.end - 1}" for span in spans)


def parse_offsets(value: str) -> tuple[Span, ...]:
    """The inverse of `format_offsets`, sorted; ValueError when `value` is anything else."""
    if not _OFFSETS.fullmatch(value):
        raise ValueError(f"offsets {value!r:.80} are not of the form start-end or start-end;start-end")
    spans = []
    for piece in value.split(";"):
        first, last = map(int, piece.split("-"))
        if last < first:
            raise ValueError(f"offsets {value!r:.80} end before they start")
        spans.append(Span(first, last + 1))
    return tuple(sorted(spans))


def read_predictions(path: str | Path) -> list[tuple[str, Mention]]:
    """The lines of an evaluator file as (sentence id, mention), in order, repeated lines included.

    A name may hold `|`: the id and the offsets are read from the left, the type from the right.
    Empty lines are skipped. Raises InputError naming the line that does not fit.
    """
    path = Path(path)
    predictions = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    predictions.append(_parse_line(line.strip(), f"{path}: line {number}"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: byte {error.start}: {error.reason}") from None
    return predictions


def _parse_line(line: str, place: str) -> tuple[str, Mention]:
    try:
        sentence_id, offsets, rest = line.split("|", 2)
        text, type_name = rest.rsplit("|", 1)
    except ValueError:
        raise InputError(f"{place}: not of the form sentence|start-end|text|type: {line!r:.120}") from None
    if not sentence_id or not type_name:
        raise InputError(f"{place}: without {'type' if sentence_id else 'sentence'}: {line!r:.120}")
    try:
        spans = parse_offsets(offsets)
    except ValueError as error:
        raise InputError(f"{place}: {error}: {line!r:.120}") from None
    return sentence_id, Mention(spans, type_name, text)


def _xml_files(path: Path) -> list[Path]:
    if not os.path.exists(path):  # the method of Path raises where a folder above may not be read
        raise InputError(f"{path}: no such file or folder")
    if not os.path.isdir(path):
        return [path]
    files = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() == ".xml" and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        raise InputError(f"{path}: no .xml files in this folder")
    return sorted(files)


def _read_file(path: Path, seen: dict[str, Path]) -> list[Document]:
    """The documents of one file; adds its sentence ids to `seen`."""
    documents: list[tuple[str, list[Sentence]]] = []
    last_holder: Element | None = None
    for number, (holder, element) in enumerate(_sentence_elements(_parse_file(path)), start=1):
        sentence = _read_sentence(element, path, number)
        if sentence.id in seen:
            where = "twice" if seen[sentence.id] == path else f"here and in {seen[sentence.id]}"
            raise InputError(f"{path}: sentence id {sentence.id!r} stands {where}")
        seen[sentence.id] = path
        if not documents or holder is not last_holder:
            documents.append(((holder.get("id") if holder is not None else None) or path.stem, []))
            last_holder = holder
        documents[-1][1].append(sentence)
    return [Document(document_id, tuple(sentences)) for document_id, sentences in documents]


def _parse_file(path: Path) -> Element:
    try:
        root = parse_xml(path).getroot()
    except DefusedXmlException as error:
        name = getattr(error, "name", None) or getattr(error, "sysid", None)
        raise InputError(
            f"{path}: XML entities and external references are refused (got {name!r:.80})"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ParseError, ValueError, LookupError) as error:  # the last two: encodings expat does not know
        raise InputError(f"{path}: not XML: {error}") from None
    if root is None:
        raise InputError(f"{path}: not XML: no element")
    return root


def _sentence_elements(root: Element) -> Iterator[tuple[Element | None, Element]]:
    """Every sentence element in the file's order, with the document element around it.

    Its own stack, because a hostile file may nest deeper than Python recurses.
    """
    stack: list[tuple[Element | None, Element]] = [(None, root)]
    while stack:
        document, element = stack.pop()
        if element.tag == "sentence":
            yield document, element
            continue
        inside = element if element.tag == "document" else document
        stack.extend((inside, child) for child in reversed(element))


def _read_sentence(element: Element, path: Path, number: int) -> Sentence:
    sentence_id, text = element.get("id"), element.get("text")
    if not sentence_id:
        raise InputError(f"{path}: sentence number {number} has no id (text {text!r:.60})")
    if re.search(r"[|\r\n]", sentence_id):
        raise InputError(
            f"{path}: sentence id {sentence_id!r:.80} holds a character that evaluator lines cannot"
        )
    if text is None:
        raise InputError(f"{path}: sentence {sentence_id}: no text attribute")
    mentions = [
        _read_entity(
            entity, text, f"{path}: sentence {sentence_id}: entity {entity.get('id', f'number {n}')}"
        )
        for n, entity in enumerate(element.iter("entity"), start=1)
    ]
    return Sentence(sentence_id, text).with_mentions(mentions)


def _read_entity(element: Element, text: str, place: str) -> Mention:
    offsets, type_name = element.get("charOffset"), element.get("type")
    if offsets is None:
        raise InputError(f"{place}: no charOffset attribute")
    if not type_name or re.search(r"[|\r\n]", type_name):
        raise InputError(f"{place}: no usable type (got {type_name!r:.60})")
    try:
        spans = parse_offsets(offsets)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if spans[-1].end > len(text):
        raise InputError(f"{place}: offsets {offsets} run past the text ({len(text)} characters)")
    name = element.get("text")
    return Mention(spans, type_name, covered_text(text, spans) if name is None else name)
