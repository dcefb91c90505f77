"""The DDI corpus in XML.

A file contains `<sentence id text>` elements, usually inside `<document id>`, each with its entities:

    <sentence id="d1.s0" text="Aspirin and iron.">
        <entity id="d1.s0.e0" charOffset="0-6" type="drug" text="Aspirin"/>
    </sentence>

`charOffset` counts code points and includes the last one; a discontinuous name has several pieces,
`0-5;10-13`. They become half-open here; older editions, whose ends are exclusive, are known by their names
(`offset_ends`). Ids that are unique only in their file are qualified (`unique_ids`).
Source of the format: Herrero-Zazo et al. 2013.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from ..data import Document, Mention, Sentence, covered_text, single_line
from ..errors import DamagedFilesError, InputError
from .evaluator_lines import UNUSABLE, format_offsets
from .numbered_names import NumberedNames
from .offset_ends import OffsetEnds, RawDocument, RawEntity, RawFile, RawSentence, told_by_name
from .passages import AS_SPELT, NO_CONFIDENCE
from .protocol import Losses, Reading
from .text import document_id
from .unique_ids import with_unique_ids
from .xml_files import quoted, read_xml

Notify = Callable[[str], None]
OnDamaged = Callable[[Path, str], None]


def read_ddi(
    path: str | Path, *, notify: Notify = warnings.warn, on_damaged: OnDamaged | None = None
) -> list[Document]:
    """The documents of one XML file, or of every `*.xml` below a folder, sorted by path.

    notify: called once for each thing that had to be decided: ends, ids, entities that cannot be read and
        are left out.
    on_damaged: called for each file of a folder that cannot be read, with the reason; the others are read.
        Without it, DamagedFilesError names them all.

    Texts are verbatim, and so are the names and types of the entities, even if a name differs from the text
    at its offsets. Sentences outside any document form one that is named after the file. Raises InputError
    naming file, sentence and value.
    """
    path = Path(path)
    files = with_unique_ids(_read_files(path, on_damaged), path, notify)
    if not any(file.documents for file in files):
        raise InputError(f"{path}: no <sentence> elements")
    ends = OffsetEnds(files)
    misfits: list[str] = []
    documents = [_document(document, file, ends, misfits) for file in files for document in file.documents]
    for note in ends.notes():
        notify(f"{path}: {note}")
    if misfits:
        few = "; ".join(misfits[:3]) + ("; ..." if len(misfits) > 3 else "")
        n_entities = sum(1 for file in files for _ in file.entities())
        notify(f"{path}: {len(misfits)} of {n_entities} entities cannot be read and are left out: {few}")
    return documents


def read_ddi_file(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file or folder, as any format is read."""
    yield from read_ddi(path, notify=reading.notify)


def recognises_ddi(path: Path, head: str) -> bool:
    return head.lstrip().startswith("<") and "<sentence" in head and "<passage" not in head


def _read_files(path: Path, on_damaged: OnDamaged | None) -> list[RawFile]:
    """The files that can be read. Raises InputError if there is none, or for others without `on_damaged`."""
    paths = _xml_files(path)
    files: list[RawFile] = []
    damaged: dict[Path, str] = {}
    for file in paths:
        try:
            files.append(RawFile(file, list(_documents(file))))
        except InputError as error:
            damaged[file] = str(error)
    if damaged and (not files or on_damaged is None):
        raise DamagedFilesError.of(path, list(damaged.values()), len(paths))
    if on_damaged is not None:
        for file, message in damaged.items():
            on_damaged(file, message)
    return files


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


def _documents(path: Path) -> Iterator[RawDocument]:
    """The documents of one file, as the file has them."""
    current: RawDocument | None = None
    last_holder: Element | None = None
    for number, (holder, element) in enumerate(_sentence_elements(read_xml(path)), start=1):
        if current is None or holder is not last_holder:
            if current is not None:
                yield current
            own_id = None if holder is None else holder.get("id")
            current = RawDocument(own_id or document_id(path), [])
            last_holder = holder
        current.sentences.append(_read_sentence(element, path, number))
    if current is not None:
        yield current


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


def _read_sentence(element: Element, path: Path, number: int) -> RawSentence:
    sentence_id, text = element.get("id"), element.get("text")
    if not sentence_id:
        raise InputError(f"{path}: sentence number {number} has no id (its text: {text!r:.60})")
    if UNUSABLE.search(sentence_id):
        raise InputError(
            f"{path}: sentence id {sentence_id!r:.80} contains a vertical bar or a line break, "
            "which evaluator lines do not allow"
        )
    if text is None:
        raise InputError(f"{path}: sentence {sentence_id}: no text attribute")
    entities = [
        RawEntity(e.get("id", f"number {n}"), e.get("charOffset"), e.get("type"), e.get("text"))
        for n, e in enumerate(element.iter("entity"), start=1)
    ]
    return RawSentence(sentence_id, text, entities)


def _document(raw: RawDocument, file: RawFile, ends: OffsetEnds, misfits: list[str]) -> Document:
    """The document with those of its entities that can be read; the others are added to `misfits`."""
    sentences = []
    for sentence in raw.sentences:
        mentions = []
        for entity in sentence.entities:
            try:
                mentions.append(_mention(entity, sentence.text, file, ends))
            except ValueError as error:
                place = f"{file.path.name}: " if ends.n_files > 1 else ""
                misfits.append(single_line(f"{place}sentence {sentence.id}: entity {entity.id}: {error}"))
        sentences.append(Sentence(sentence.id, sentence.text).with_mentions(mentions))
    return Document(raw.id, tuple(sentences))


def _mention(entity: RawEntity, text: str, file: RawFile, ends: OffsetEnds) -> Mention:
    """The mention. Raises ValueError for what cannot be one."""
    if entity.offsets is None:
        raise ValueError("no charOffset attribute")
    if not entity.type or UNUSABLE.search(entity.type):
        raise ValueError(f"missing or unusable type (found {entity.type!r:.60})")
    spans = ends.spans(entity, text, file)
    if spans[-1].end > len(text):
        raise ValueError(f"offsets {entity.offsets} run past the text ({len(text)} characters)")
    return Mention(spans, entity.type, covered_text(text, spans) if entity.name is None else entity.name)


# ---- writing

RUNNING_TEXT = "running texts written as sentences, each with its own offsets"


def write_ddi(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The corpus in one XML file. Of running text, each sentence or passage is a sentence."""
    ids = _SentenceIds(losses)
    last: str | None = None
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<corpus>\n'
    for document in documents:
        if not document.sentences:
            losses.add("documents without sentences left out")
            continue
        if not (document.continues and document.id == last):
            yield "" if last is None else "</document>\n"
            yield f"<document id={quoted(document.id, losses)}>\n"
        last = document.id
        losses.add(RUNNING_TEXT, document.text is not None)
        for sentence in document:
            yield from _sentence_lines(ids.unique(sentence.id), sentence, losses)
    yield ("" if last is None else "</document>\n") + "</corpus>\n"


def _sentence_lines(id: str, sentence: Sentence, losses: Losses) -> Iterator[str]:
    yield f"<sentence id={quoted(id, losses)} text={quoted(sentence.text, losses)}>\n"
    for n, mention in enumerate(sentence.mentions):
        type = UNUSABLE.sub("_", mention.type)
        losses.add("types written with _ for characters that the format does not allow", type != mention.type)
        losses.add(NO_CONFIDENCE, mention.confidence is not None)
        offsets, name = format_offsets(mention.spans), mention.text
        if told_by_name(name, offsets, sentence.text):  # a reader would take the ends for exclusive ones
            name = covered_text(sentence.text, mention.spans)
            losses.add(AS_SPELT)
        values = {"id": f"{id}.e{n}", "charOffset": offsets, "type": type, "text": name}
        attributes = " ".join(f"{name}={quoted(value, losses)}" for name, value in values.items())
        yield f"<entity {attributes}/>\n"
    yield "</sentence>\n"


@dataclass(slots=True)
class _SentenceIds:
    """Ids without what evaluator lines do not allow, each of one sentence."""

    losses: Losses
    _given: NumberedNames = field(default_factory=lambda: NumberedNames("-"))

    def unique(self, id: str) -> str:
        unique = self._given.of(UNUSABLE.sub("_", id) or "s")
        self.losses.add("sentence ids changed", unique != id)
        return unique
