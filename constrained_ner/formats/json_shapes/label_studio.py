"""Records of Label Studio: tasks with annotations or predictions, and rows of its exports JSON_MIN and CSV.

A region's `from_name` is the tag that labels, its `to_name` the tag with the text; the labels are under the
name of the kind of region, mostly "labels". Offsets are half-open code points, in early versions UTF-16 units
(HumanSignal/label-studio pull request 1559); each region has its words, so that the file tells which.
Source: labelstud.io/guide/task_format and labelstud.io/guide/export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..raw_mentions import RawMention, RawText
from .protocol import ShapeError, checked, id_of, keys_of, provenance_of
from .spans import probability

_ANSWERS = ("annotations", "completions", "predictions")
"""Where the answers of a task are; what a person did comes first ("completions" in early versions)."""


def is_task(record: Any) -> bool:
    """Whether a value is a task."""
    if not isinstance(record, dict) or not isinstance(record.get("data"), dict):
        return False
    return any(isinstance(record.get(key), list) for key in _ANSWERS) or any(
        isinstance(value, str) for value in record["data"].values()
    )


def read_task(task: dict[str, Any]) -> list[RawText]:
    """The text of a task with the regions of one answer. Raises ShapeError."""
    notes: list[str] = []
    regions = [region for region in _answer(task, notes) if _labels(region)]
    text = _text(task["data"], regions)
    mentions = tuple(mention for region in regions for mention in _mentions(region))
    return [RawText(text, mentions, id_of(task, "id") or id_of(task["data"], "id"), notes=tuple(notes))]


def is_row(record: Any) -> bool:
    """Whether a value is a row of JSON_MIN: the regions are under the name of the tag that labels."""
    return isinstance(record, dict) and any(_is_regions(value) for value in record.values())


def read_row(row: dict[str, Any]) -> list[RawText]:
    """The text of a row with its regions. Raises ShapeError."""
    regions = [{"value": region} for value in row.values() if _is_regions(value) for region in value]
    mentions = tuple(mention for region in regions for mention in _mentions(region))
    return [RawText(_text(row, regions), mentions, id_of(row, "id"))]


def row_of_table(cells: dict[str, str]) -> dict[str, Any]:
    """A row of the CSV export as one of JSON_MIN: cells with regions are JSON.

    Example: {"ner": '[{"start": 0, ...}]'} -> {"ner": [{"start": 0, ...}]}
    """
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        row[name] = cell
        if cell.startswith("[{"):
            try:
                row[name] = json.loads(cell)
            except (ValueError, RecursionError):
                continue
    return row


def _is_regions(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "start" in item and "end" in item for item in value)
        and any(isinstance(item.get("labels"), list) for item in value)
    )


def _answer(task: dict[str, Any], notes: list[str]) -> list[dict[str, Any]]:
    """The regions of the answer to read: the first that was not cancelled, a person's before a model's."""
    for key in _ANSWERS:
        given = task.get(key)
        answers = [
            answer
            for answer in (given if isinstance(given, list) else [])
            if isinstance(answer, dict) and isinstance(answer.get("result"), list)
        ]
        kept = [answer for answer in answers if not (answer.get("was_cancelled") or answer.get("skipped"))]
        if len(kept) < len(answers):
            notes.append(f"{key} that were cancelled are left out")
        if len(kept) > 1:
            notes.append(f"several {key} of the same text; the first is read, the others are left out")
        if kept:
            return [region for region in kept[0]["result"] if isinstance(region, dict)]
    return []


def _labels(region: dict[str, Any]) -> list[str]:
    value = region.get("value")
    if not isinstance(value, dict):
        return []
    labels = value.get(str(region.get("type", "labels")), value.get("labels"))
    return [str(label) for label in labels] if isinstance(labels, list) and "start" in value else []


def _mentions(region: dict[str, Any]) -> Iterator[RawMention]:
    """One mention for each label of a region."""
    value = region["value"]
    start, end = value.get("start"), value.get("end")
    placed = isinstance(start, int) and isinstance(end, int)
    name = value.get("text")
    for label in _labels(region) or [""]:
        yield RawMention(
            ((start, end),) if placed else (),
            checked(label, "labels") or None,
            name if isinstance(name, str) and name else None,
            probability(region.get("score")),
            provenance_of(region) or "gold",
        )


def _text(data: dict[str, Any], regions: list[dict[str, Any]]) -> str:
    """The text that regions are in: the one they name, else "text", else the only one that has their words.

    Raises ShapeError.
    """
    source = next((str(r["source"]).lstrip("$") for r in regions if r.get("source")), "text")
    if isinstance(data.get(source), str):
        return checked(data[source], source)
    if isinstance(data.get("text"), str):
        return checked(data["text"], "text")
    texts = {
        key: value for key, value in data.items() if isinstance(value, str) and key not in ("id", "ref_id")
    }
    words = [region["value"].get("text") for region in regions]
    fitting = [k for k, v in texts.items() if all(isinstance(word, str) and word in v for word in words)]
    if words and len(fitting) == 1:
        return checked(texts[fitting[0]], fitting[0])
    raise ShapeError(f"no text (its keys: {keys_of(data)}); name its field with --text-field")
