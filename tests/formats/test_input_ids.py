from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from constrained_ner.data import Document
from constrained_ner.formats.documents import read_documents
from constrained_ner.formats.evaluator_lines import read_predictions, write_evaluator_lines
from constrained_ner.formats.protocol import Losses, Reading

FILES = {
    "brat": {"txt": b"Iron", "ann": b"T1\tdrug 0 4\tIron\n"},
    "inline": {"inline": b"<drug>Iron</drug>\n"},
    "conll": {"conll": b"Iron B-drug\nhelps O\n"},
    "jsonl": {"jsonl": b'{"text": "Iron", "mentions": [{"start": 0, "end": 4, "type": "drug"}]}\n'},
    "ddi": {"xml": b'<document><sentence id="s" text="Iron"/></document>'},
    "text": {"txt": b"Iron"},
    "bioc": {
        "xml": b"<collection><document><id/><passage><offset>0</offset><text>Iron</text></passage>"
        b"</document></collection>"
    },
}


def read(path: Path, told: list[str]) -> list[Document]:
    return list(read_documents(path, reading=Reading(notify=told.append, report_damaged=told.append)))


def records(folder: Path, *values: dict[str, object]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")
    return path


@pytest.mark.parametrize("id", ["a|b", "a\nb", "a\rb", "a\r\nb"])
def test_an_id_that_would_end_in_evaluator_lines_is_made_usable_and_told(tmp_path: Path, id: str) -> None:
    mentions = [{"start": 0, "end": 4, "type": "drug"}]
    told: list[str] = []
    path = records(tmp_path, *({"id": id, "text": "Iron", "mentions": mentions} for _ in range(2)))
    documents = read(path, told)
    lines = tmp_path / "out"
    lines.write_text("".join(write_evaluator_lines(documents, Losses())), encoding="utf-8")
    assert [name for name, _ in read_predictions(lines)] == [document.id for document in documents]
    assert len({document.id for document in documents}) == 2
    assert sum("vertical bar" in message for message in told) == 1


def test_an_id_of_blanks_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.pubtator"
    path.write_text(" |t|Iron.\n |a|\n")
    assert [document.id for document in read(path, [])] == ["a"]


def test_ids_of_sentences_without_a_text_of_their_own_are_unique_in_the_whole_input(tmp_path: Path) -> None:
    told: list[str] = []
    sentence = {"id": "s", "text": "Iron", "mentions": []}
    path = records(tmp_path, *({**sentence, "document": name} for name in ("d", "d", "e")))
    assert [s.id for d in read(path, told) for s in d] == ["s", "a/s", "s#2"]
    assert [message for message in told if "repeat" in message] == [
        f"{path}: sentence ids that repeat are qualified (the first, 's', is now 'a/s')"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
@pytest.mark.parametrize("name", FILES)
def test_an_id_made_of_a_file_name_that_is_not_utf_8_is_text(tmp_path: Path, name: str) -> None:
    for suffix, content in FILES[name].items():
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9." + suffix.encode())).write_bytes(content)
    [document] = read(next(tmp_path.glob(f"*.{next(iter(FILES[name]))}")), [])
    assert document.id.startswith("caf\\xe9")
