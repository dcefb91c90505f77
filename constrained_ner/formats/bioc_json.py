"""BioC in JSON, and the answers of PubTator3, which are such documents.

    {"documents": [{"id": "354896", "passages": [{"offset": 0, "text": "Lidocaine-induced cardiac asystole.",
     "annotations": [{"id": "0", "infons": {"type": "Chemical"}, "text": "Lidocaine",
                      "locations": [{"offset": 0, "length": 9}]}]}]}]}

The documents may be a collection, a list under "PubTator3", one document, or one document a line. They are
read one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..data import Document
from ..errors import InputError
from .bioc_documents import Raw, bioc_documents
from .bioc_model import Annotation, BiocDocument, Block, confidence_of
from .bioc_outline import outlines
from .json_items import json_items
from .protocol import Losses, Reading
from .units import Pieces


def recognises_bioc_json(path: Path, head: str) -> bool:
    """Whether a JSON file has documents of passages."""
    return '"passages"' in head


def read_bioc_json(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, with passages or sentences as they are in it."""
    return bioc_documents(path, lambda: _documents(path), reading)


def _documents(path: Path) -> Iterator[Raw]:
    for line, item in json_items(path, ("documents", "PubTator3")):
        # Or one of several collections.
        inside = item.get("documents") if isinstance(item, dict) else None
        for document in inside if isinstance(inside, list) else [item]:
            try:
                yield _document(document, f"{path}: line {line}")
            except InputError as problem:
                yield problem


def _document(item: Any, place: str) -> BiocDocument:
    if not isinstance(item, dict) or not isinstance(item.get("passages"), list):
        keys = ", ".join(list(item)[:8]) if isinstance(item, dict) else type(item).__name__
        raise InputError(f'{place}: no BioC document: it has no list of "passages" (found: {keys:.120})')
    id = next((str(item[key]) for key in ("id", "pmid", "_id") if item.get(key) not in (None, "")), "")
    document = BiocDocument(id, annotations=_annotations(item))
    for number, passage in enumerate(item["passages"], start=1):
        there = f"{place}: document {id!r:.80}: passage {number}"
        offset = _offset(passage, there)
        sentences = [
            Block(_offset(s, f"{there}: a sentence"), _text(s), offset, _annotations(s), True)
            for s in _list(passage, "sentences")
        ]
        document.add_passage(offset, _text(passage), _annotations(passage), sentences)
    return document


def _list(item: Any, key: str) -> list[Any]:
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, list) else []


def _text(item: Any) -> str:
    text = item.get("text") if isinstance(item, dict) else None
    return text if isinstance(text, str) else ""


def _offset(item: Any, place: str) -> int:
    offset = _number(item.get("offset")) if isinstance(item, dict) else None
    if offset is None:
        raise InputError(f"{place}: its offset is missing or not a number")
    return offset


def _number(value: Any) -> int | None:
    """A number, which some write as a string."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def _annotations(item: Any) -> list[Annotation]:
    return [_annotation(a) for a in _list(item, "annotations") if isinstance(a, dict)]


def _annotation(item: dict[str, Any]) -> Annotation:
    infons = item.get("infons")
    infons = infons if isinstance(infons, dict) else {}
    type = infons.get("type")
    return Annotation(
        str(item.get("id", "")),
        "" if type is None else str(type).strip(),
        _text(item) or None,
        _pieces(item),
        confidence_of(infons.get("confidence")),
    )


def _pieces(item: dict[str, Any]) -> Pieces | None:
    pieces = []
    for location in _list(item, "locations"):
        location = location if isinstance(location, dict) else {}
        offset, length = _number(location.get("offset")), _number(location.get("length"))
        if offset is None or length is None:
            return None
        pieces.append((offset, offset + length))
    return tuple(pieces) or None


def write_bioc_json(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A BioC collection, with a passage a line."""
    yield '{"source": "constrained-ner", "date": "", "key": "", "infons": {}, "documents": ['
    for n, (document_id, passages) in enumerate(outlines(documents, losses)):
        yield f'{"," if n else ""}\n{{"id": {_json(document_id)}, "infons": {{}}, "passages": ['
        for m, passage in enumerate(passages):
            yield f"{',' if m else ''}\n {_json({'text': '', **passage, 'relations': []})}"
        yield '], "annotations": [], "relations": []}'
    yield "\n]}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
