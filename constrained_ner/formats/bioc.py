"""BioC in XML.

    <collection>
      <document><id>354896</id>
        <passage><offset>0</offset><text>Lidocaine-induced cardiac asystole.</text>
          <annotation id="0"><infon key="type">Chemical</infon>
            <location offset="0" length="9"/><text>Lidocaine</text></annotation>
        </passage>
      </document>
    </collection>

A document is read and forgotten before the next, so that the size of a file does not matter. The DTD that
files name is neither needed nor fetched. (The library `bioc` is not used: it fails on what is damaged, and
takes offsets as they are. What is hard here is what they count, see `bioc_offsets`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from ..data import Document
from ..errors import InputError
from .bioc_documents import Raw, bioc_documents
from .bioc_model import Annotation, BiocDocument, Block, confidence_of
from .bioc_outline import Outline, outlines
from .protocol import Losses, Reading
from .units import Pieces
from .xml_files import escaped, quoted, xml_elements


def recognises_bioc(path: Path, head: str) -> bool:
    """Whether an XML file holds a BioC collection."""
    return "<collection" in head or "BioC.dtd" in head


def read_bioc(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, with passages or sentences as they are in it."""

    def raw() -> Iterator[Raw]:
        for element in xml_elements(path, "document"):
            try:
                yield _document(element, path)
            except InputError as problem:
                yield problem

    return bioc_documents(path, raw, reading)


def _document(element: Element, path: Path) -> BiocDocument:
    document = BiocDocument(_content(element, "id"), annotations=_annotations(element))
    for number, passage in enumerate(element.iterfind("passage"), start=1):
        place = f"{path}: document {document.id!r:.80}: passage {number}"
        offset = _offset(passage, place)
        sentences = [
            Block(_offset(s, f"{place}: a sentence"), _content(s, "text"), offset, _annotations(s), True)
            for s in passage.iterfind("sentence")
        ]
        document.add_passage(offset, _content(passage, "text"), _annotations(passage), sentences)
    return document


def _content(element: Element, tag: str) -> str:
    return element.findtext(tag) or ""


def _offset(element: Element, place: str) -> int:
    content = _content(element, "offset").strip()
    if not (content.isascii() and content.isdigit() and len(content) < 10):
        raise InputError(f"{place}: its offset is not a number: {content!r:.40}")
    return int(content)


def _annotations(element: Element) -> list[Annotation]:
    return [_annotation(annotation) for annotation in element.iterfind("annotation")]


def _annotation(element: Element) -> Annotation:
    infons = {infon.get("key"): infon.text or "" for infon in element.iterfind("infon")}
    return Annotation(
        element.get("id") or "",
        infons.get("type", "").strip(),
        _content(element, "text") or None,
        _pieces(element),
        confidence_of(infons.get("confidence")),
    )


def _pieces(element: Element) -> Pieces | None:
    try:
        locations = [
            (int(e.get("offset", "")), int(e.get("length", ""))) for e in element.iterfind("location")
        ]
    except ValueError:
        return None
    return tuple((offset, offset + length) for offset, length in locations) or None


def write_bioc(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A BioC collection. A document in sentences becomes one passage of sentences."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">\n'
    yield "<collection><source>constrained-ner</source><date></date><key></key>\n"
    for document_id, passages in outlines(documents, losses):
        yield f"<document><id>{escaped(document_id, losses)}</id>\n"
        for passage in passages:
            yield f"<passage>{_block(passage, losses)}"
            for sentence in passage["sentences"]:
                yield f"<sentence>{_block(sentence, losses)}</sentence>\n"
            yield "</passage>\n"
        yield "</document>\n"
    yield "</collection>\n"


def _block(block: Outline, losses: Losses) -> str:
    text = f"<text>{escaped(block['text'], losses)}</text>\n" if "text" in block else "\n"
    annotations = "".join(_written(annotation, losses) for annotation in block["annotations"])
    return f"<offset>{block['offset']}</offset>{text}{annotations}"


def _written(annotation: Outline, losses: Losses) -> str:
    infons = "".join(
        f"<infon key={quoted(key, losses)}>{escaped(str(value), losses)}</infon>"
        for key, value in annotation["infons"].items()
    )
    locations = "".join(
        f'<location offset="{location["offset"]}" length="{location["length"]}"/>'
        for location in annotation["locations"]
    )
    inside = f"{infons}{locations}<text>{escaped(annotation['text'], losses)}</text>"
    return f"<annotation id={quoted(annotation['id'], losses)}>{inside}</annotation>\n"
