"""Records with a text and a list of its mentions, each with offsets of characters.

Most tools write such records and differ in the names of the keys only:

    {"text": "Aspirin.", "label": [[0, 7, "drug"]]}                                           doccano
    {"text": "Aspirin.", "spans": [{"start": 0, "end": 7, "label": "drug"}]}                  Prodigy
    {"text": "Aspirin.", "denotations": [{"span": {"begin": 0, "end": 7}, "obj": "drug"}]}    PubAnnotation
    {"text": "Aspirin.", "extractions": [{"extraction_class": "drug", "extraction_text": "Aspirin",
                                          "char_interval": {"start_pos": 0, "end_pos": 7}}]}  LangExtract

So there is one reader, and tables of the names.
"""

from __future__ import annotations

import math
from typing import Any

from ..raw_mentions import RawMention, RawText
from .protocol import ShapeError, checked, id_of, keys_of, provenance_of, text_of

LISTS = (
    "mentions",
    "denotations",
    "extractions",
    "ents",
    "entities",
    "spans",
    "labels",
    "label",
    "annotations",
    "predictions",
    "ner",
    "tags",
)
"""The keys of a record that may hold its mentions. The first that does is read."""

_STARTS = ("start", "start_offset", "begin", "start_pos", "start_char", "startOffset", "from")
_ENDS = ("end", "end_offset", "end_pos", "end_char", "endOffset", "to")
_PLACES = ("span", "char_interval", "position", "offsets", "spans")
_TYPES = (
    "type",
    "label",
    "obj",
    "extraction_class",
    "entity_group",
    "entity_type",
    "entity",
    "category",
    "tag",
)
_NAMES = ("text", "mention", "extraction_text", "word", "name", "surface", "covered_text")
_CONFIDENCES = ("confidence", "score", "logit", "probability")
_IDS = ("id", "document_id", "doc_id", "_id", "pmid", "sourceid")
_NO_GOLD = ("reject", "ignore")


def has_mentions(record: Any) -> bool:
    """Whether a record has a list of mentions that can be read."""
    return isinstance(record, dict) and (_mentions_key(record) is not None or "tracks" in record)


def has_text(record: Any) -> bool:
    """Whether a record has a text, and nothing that looks like mentions of an unknown kind."""
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return False
    return not any(_looks_annotated(record.get(key)) for key in LISTS)


def read_spans(record: dict[str, Any]) -> list[RawText]:
    """The text of a record of any of these tools. Raises ShapeError."""
    text, notes = text_of(record), []
    lists = _lists_of(record)
    if len(lists) > 1:
        notes.append(f"mentions of {len(lists)} projects in one record are read together")
    mentions = [
        mention for items in lists for item in _of_first_user(items, notes) for mention in _mentions(item)
    ]
    answer = record.get("answer")
    if answer in _NO_GOLD and mentions:
        mentions = []
        notes.append(f"the answer is {answer!r}: the mentions are no gold and are left out")
    if any(
        isinstance(_first(item, _TYPES), int) for items in lists for item in items if isinstance(item, dict)
    ):
        notes.append("the types are numbers; the file does not tell their names")
    start = record.get("start")
    return [
        RawText(
            text,
            tuple(mentions),
            id_of(record, *_IDS),
            document=id_of(record, "document"),
            start=start if isinstance(start, int) and "mentions" in record and start > 0 else 0,
            notes=tuple(notes),
        )
    ]


def read_text(record: dict[str, Any]) -> list[RawText]:
    """The text of a record without mentions. Raises ShapeError."""
    classes = [key for key in LISTS if isinstance(record.get(key), (str, list)) and record[key]]
    notes = tuple(f"{key!r} holds no mentions and is not read" for key in classes)
    return [RawText(text_of(record), (), id_of(record, *_IDS), notes=notes)]


def read_pair(record: list[Any]) -> list[RawText]:
    """A training example of spaCy 2: ["Aspirin.", {"entities": [[0, 7, "drug"]]}]. Raises ShapeError."""
    text, annotations = record
    items = annotations.get("entities", []) if isinstance(annotations, dict) else annotations
    if not isinstance(items, list):
        raise ShapeError(f"'entities' is not a list: {items!r:.60}")
    return [RawText(checked(text, "text"), tuple(mention for item in items for mention in _mentions(item)))]


def is_pair(record: Any) -> bool:
    """Whether a value is a training example of spaCy 2."""
    return (
        isinstance(record, list)
        and len(record) == 2
        and isinstance(record[0], str)
        and (isinstance(record[1], list) or (isinstance(record[1], dict) and "entities" in record[1]))
    )


def _mentions_key(record: dict[str, Any]) -> str | None:
    """The key of the mentions; if all lists are empty, the first of them."""
    lists = [key for key in LISTS if isinstance(record.get(key), list)]
    full = [key for key in lists if any(map(_is_mention, record[key]))]
    if full:
        return full[0]
    return lists[0] if lists and not any(record[key] for key in lists) else None


def _is_mention(item: Any) -> bool:
    if isinstance(item, (list, tuple)):
        return len(item) >= 2 and all(_number(value) is not None for value in item[:2])
    if not isinstance(item, dict):
        return False
    if any(isinstance(item.get(key), (dict, list)) or (key in item and item[key] is None) for key in _PLACES):
        return True
    return any(key in item for key in _STARTS) and any(key in item for key in _ENDS)


def _looks_annotated(value: Any) -> bool:
    """Whether a value holds objects, or lists with numbers, and not only names of classes."""
    return isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)


def _lists_of(record: dict[str, Any]) -> list[list[Any]]:
    tracks = record.get("tracks")
    if isinstance(tracks, list):
        found = [track.get("denotations", []) for track in tracks if isinstance(track, dict)]
        return [items for items in found if isinstance(items, list)]
    key = _mentions_key(record)
    if key is None:
        raise ShapeError(f"no mentions that can be read (its keys: {keys_of(record)})")
    return [record[key]]


def _of_first_user(items: list[Any], notes: list[str]) -> list[Any]:
    """The mentions of one annotator: those of several are no sum."""
    users = [item.get("user") for item in items if isinstance(item, dict)]
    if len(set(map(str, users))) < 2:
        return items
    kept = [item for item in items if not isinstance(item, dict) or item.get("user") == users[0]]
    note = "a mention of a second user is left out, those of the first who annotated the text are read"
    notes += [note] * (len(items) - len(kept))
    return kept


def _mentions(item: Any) -> list[RawMention]:
    """A mention; one for each of its types if there are several."""
    if isinstance(item, (list, tuple)):
        return [RawMention(_pieces([item[:2]]), _as_type(item[2] if len(item) > 2 else None))]
    if not isinstance(item, dict):
        return [RawMention((), None, str(item)[:60])]
    name = _first(item, _NAMES)
    if isinstance(name, list):
        name = " ".join(map(str, name))
    own = provenance_of(item)
    types = _first(item, _TYPES)
    return [
        RawMention(
            _pieces(_places(item)),
            _as_type(type),
            name if isinstance(name, str) and name else None,
            probability(_first(item, ("confidence",) if own else _CONFIDENCES)),
            own or "gold",
            probability(item.get("score")) if own else None,
        )
        for type in (types if isinstance(types, list) and types else [types])
    ]


def _places(item: dict[str, Any]) -> list[Any]:
    """The places of a mention: objects or pairs."""
    for key in _PLACES:
        if isinstance(item.get(key), dict):
            return [item[key]]
        if isinstance(item.get(key), list):
            value: list[Any] = item[key]
            return [value] if value and not isinstance(value[0], (dict, list)) else value
    return [item]


def _pieces(places: list[Any]) -> tuple[tuple[int, int], ...]:
    """The pieces of a mention; none if one of them has no place."""
    pieces = []
    for place in places:
        if isinstance(place, dict):
            start, end = _number(_first(place, _STARTS)), _number(_first(place, _ENDS))
        elif isinstance(place, (list, tuple)) and len(place) == 2:
            start, end = _number(place[0]), _number(place[1])
        else:
            return ()
        if start is None or end is None:
            return ()
        pieces.append((start, end))
    return tuple(pieces)


def _first(item: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _number(value: Any) -> int | None:
    """An offset; also one written as 3.0 or "3"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) else None


def _as_type(value: Any) -> str | None:
    """The name of a type; None for what is no name."""
    if value is None or isinstance(value, (dict, list, bool)):
        return None
    return checked(str(value), "type") or None


def probability(value: Any) -> float | None:
    """The value if it is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= 1 else None
