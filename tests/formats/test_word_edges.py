"""Without the words of the file, the words of the text tell what offsets count, if anything does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.data import Document
from constrained_ner.formats.jsonl import read_json
from constrained_ner.formats.protocol import Reading

TEXT = "💊💊 aspirin, iron and zinc with Öl. 5 mg of fat"
NAMES = ["aspirin", "iron", "zinc", "Öl", "mg", "fat"]


def read(folder: Path, labels: list[list[Any]], text: str = TEXT) -> tuple[list[Document], list[str]]:
    path = folder / "x.jsonl"
    path.write_text(json.dumps({"text": text, "label": labels}) + "\n")
    notes: list[str] = []
    return list(read_json(path, Reading(notify=notes.append))), notes


def counted(unit: str, inclusive: bool, text: str = TEXT) -> list[list[Any]]:
    size = {"utf-16": 2, "utf-8": 1, "utf-32": 4}[unit]

    def place(at: int) -> int:
        return len(text[:at].encode(f"{unit}-le" if size > 1 else unit)) // size

    return [[place(at := text.index(n)), place(at + len(n)) - inclusive, "drug"] for n in NAMES]


@pytest.mark.parametrize(
    ("unit", "inclusive", "told"),
    [
        ("utf-32", False, None),
        ("utf-16", False, "reading offsets as UTF-16 units: "),
        ("utf-8", False, "reading offsets as UTF-8 bytes: "),
        ("utf-32", True, "reading offsets as characters, ends count the last one in: "),
        ("utf-16", True, "reading offsets as UTF-16 units, ends count the last one in: "),
    ],
)
def test_the_convention_by_which_names_are_words_is_taken_and_told(
    tmp_path: Path, unit: str, inclusive: bool, told: str | None
) -> None:
    documents, notes = read(tmp_path, counted(unit, inclusive))
    assert [mention.text for mention in documents[0].sentences[0].mentions] == NAMES
    assert [told is not None and told in note for note in notes] == [True] * (told is not None)


def test_the_rule_stands_for_few_mentions(tmp_path: Path) -> None:
    documents, notes = read(tmp_path, counted("utf-32", True)[:4])
    assert [mention.text for mention in documents[0].sentences[0].mentions] == ["aspiri", "iro", "zin", "Ö"]
    assert not notes


def test_the_rule_stands_where_names_are_parts_of_words(tmp_path: Path) -> None:
    text = "beta-blocker antihistamines chemotherapies immunoglobulins corticosteroids"
    labels = [
        [text.index(n), text.index(n) + len(n), "drug"] for n in ["histamin", "therap", "globul", "steroid"]
    ]
    documents, notes = read(tmp_path, [*labels, [0, 4, "drug"], [5, 9, "drug"]], text)
    assert [m.text for m in documents[0].sentences[0].mentions][:2] == ["beta", "bloc"]
    assert not notes
