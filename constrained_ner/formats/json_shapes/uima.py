"""UIMA CAS in JSON, as INCEpTION exports it (dkpro-cassis, UIMA CAS JSON 0.4).

Offsets count UTF-16 units, as all of Java does. Every annotation is a mention of its type but those that
divide the text; a named entity's type is its value.
"""

from __future__ import annotations

from typing import Any

from ..raw_mentions import RawMention, RawText
from .protocol import ShapeError, checked

_STRUCTURES = "%FEATURE_STRUCTURES"
_LAYOUT = (
    "DocumentAnnotation",
    "DocumentMetaData",
    "Sentence",
    "Token",
    "Paragraph",
    "Heading",
    "Lemma",
    "POS",
)
_VALUES = ("value", "identifier", "label")


def is_cas(record: Any) -> bool:
    """Whether a value is a CAS."""
    return isinstance(record, dict) and isinstance(record.get(_STRUCTURES), (list, dict))


def read_cas(record: dict[str, Any]) -> list[RawText]:
    """The texts of a CAS, one for each of its views that has one. Raises ShapeError."""
    structures = record[_STRUCTURES]
    if isinstance(structures, dict):
        structures = [{"%ID": key, **value} for key, value in structures.items() if isinstance(value, dict)]
    structures = [structure for structure in structures if isinstance(structure, dict)]
    sofas = {s.get("%ID"): s for s in structures if isinstance(s.get("sofaString"), str)}
    if not sofas:
        raise ShapeError("no text (no 'sofaString' in a feature structure)")
    title = next((s["documentTitle"] for s in structures if isinstance(s.get("documentTitle"), str)), None)
    return [
        RawText(
            checked(sofa["sofaString"], "sofaString"),
            tuple(_mention(s) for s in structures if s.get("@sofa") == number and _is_mention(s)),
            title if len(sofas) == 1 else str(sofa.get("sofaID", number)),
        )
        for number, sofa in sofas.items()
    ]


def _is_mention(structure: dict[str, Any]) -> bool:
    kind = str(structure.get("%TYPE", "")).rpartition(".")[2]
    return "begin" in structure and "end" in structure and kind not in _LAYOUT


def _mention(structure: dict[str, Any]) -> RawMention:
    begin, end = structure["begin"], structure["end"]
    placed = isinstance(begin, int) and isinstance(end, int)
    value = next((structure[key] for key in _VALUES if isinstance(structure.get(key), str)), None)
    return RawMention(((begin, end),) if placed else (), value or str(structure.get("%TYPE") or "") or None)
