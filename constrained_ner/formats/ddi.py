"""The DDI corpus in XML.

A file contains `<sentence id text>` elements, usually inside `<document id>`, each with its entities:

    <sentence id="d1.s0" text="Aspirin and iron.">
        <entity id="d1.s0.e0" charOffset="0-6" type="drug" text="Aspirin"/>
    </sentence>

`charOffset` counts code points and includes the last one; a discontinuous name has several pieces,
`0-5;10-13`. They become half-open here. Source of the format: Herrero-Zazo et al. 2013.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml

from ..data import Document, Mention, Sentence, covered_text
from ..errors import InputError
from ..files import reason
from .evaluator_lines import parse_offsets


def read_ddi(path: str | Path) -> list[Document]:
    """The documents of one XML file, or of every `*.xml` below a folder, sorted by path.

    Texts are verbatim, and so are the names and types of the entities, even if a name differs from the text
    at its offsets. Sentences outside any document form one that is named after the file. Raises InputError
    naming file, sentence and value. XML entity definitions and external entities are refused, so that a file
    can neither read other files nor blow up in memory.
    """
    path = Path(path)
    seen: dict[str, Path] = {}  # sentence id -> its file
    documents = [document for file in _xml_files(path) for document in _read_file(file, seen)]
    if not documents:
        raise InputError(f"{path}: no <sentence> elements")
    return documents


def _xml_files(path: Path) -> list[Path]:
    if not os.path.exists(path):  # Path.exists raises if a folder above is not readable
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
            elsewhere = "" if seen[sentence.id] == path else f", first used in {seen[sentence.id]}"
            raise InputError(f"{path}: duplicate sentence id {sentence.id!r}{elsewhere}")
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
            f"{path}: XML entities and external references are refused (found {name!r:.80})"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except (ParseError, ValueError, LookupError) as error:  # the last two: unknown encodings
        raise InputError(f"{path}: not XML: {error}") from None
    if root is None:
        raise InputError(f"{path}: not XML: no element")
    return root


def _sentence_elements(root: Element) -> Iterator[tuple[Element | None, Element]]:
    """Every sentence element, in order, with the document element around it.

    Not recursive, because a hostile file may nest deeper than Python recurses.
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
        raise InputError(f"{path}: sentence number {number} has no id (its text: {text!r:.60})")
    if re.search(r"[|\r\n]", sentence_id):
        raise InputError(
            f"{path}: sentence id {sentence_id!r:.80} contains a vertical bar or a line break, "
            "which evaluator lines do not allow"
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
        raise InputError(f"{place}: missing or unusable type (found {type_name!r:.60})")
    try:
        spans = parse_offsets(offsets)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if spans[-1].end > len(text):
        raise InputError(f"{place}: offsets {offsets} run past the text ({len(text)} characters)")
    name = element.get("text")
    return Mention(spans, type_name, covered_text(text, spans) if name is None else name)
