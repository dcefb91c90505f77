"""An output of any format: chosen by its name, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Span
from constrained_ner.errors import UserError
from constrained_ner.formats.protocol import Losses
from constrained_ner.formats.writing import format_by_name, open_output

DOCUMENT = Document.of_text("a", "iron and zinc", [Mention((Span(0, 4),), "drug", "iron")])


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("out", "lines"),
        ("out.txt", "lines"),
        ("devel.v2", "lines"),
        ("out.jsonl", "jsonl"),
        ("OUT.JSONL", "jsonl"),
        ("out.xml", "ddi"),
        ("out.bioc.xml", "bioc"),
        ("out.conll", "conll"),
        ("out.pubtator", "pubtator"),
    ],
)
def test_the_name_of_an_output_says_its_format(name: str, format: str) -> None:
    assert format_by_name(name) == format


def test_a_name_that_could_be_several_formats_asks_which() -> None:
    with pytest.raises(UserError, match=r"out\.json: could be any of .*; choose one with --to"):
        format_by_name("out.json")


@pytest.mark.parametrize("format", ["jsonl", "brat"])
def test_an_output_is_whole_or_as_it_was(tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    with open_output(format, out, Losses()) as write:
        write([DOCUMENT])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail() -> None:
        with open_output(format, out, Losses()) as write:
            write([DOCUMENT, DOCUMENT])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(before) == (2 if format == "brat" else 1)


def test_a_folder_of_the_users_is_left_alone(tmp_path: Path) -> None:
    for name in ("out.part", "out.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    with open_output("brat", tmp_path / "out", Losses()) as write:
        write([DOCUMENT])
    assert (tmp_path / "out.part" / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.part", "out.tmp"}
