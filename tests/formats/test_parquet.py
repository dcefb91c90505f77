"""Parquet: what JSON lines keep is kept, row by row."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from random_documents import CORPORA

from constrained_ner.data import Document
from constrained_ner.errors import InputError, MissingExtraError
from constrained_ner.formats.jsonl import read_json, write_jsonl
from constrained_ner.formats.parquet import read_parquet, write_parquet
from constrained_ner.formats.protocol import Losses, Reading


def read(path: Path, content: bytes, **asked: str) -> list[Document]:
    path.write_bytes(content)
    return list(read_parquet(path, Reading(notify=lambda _: None, **asked)))


def test_without_pyarrow_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[parquet\]'"):
        read(tmp_path / "x.parquet", b"x")


@settings(max_examples=40, deadline=None)
@given(CORPORA)
def test_a_file_holds_what_json_lines_hold(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("parquet")
    lines = "".join(write_jsonl(corpus, Losses()))
    (folder / "a.jsonl").write_text(lines, encoding="utf-8", newline="")
    if not lines:
        return
    from_rows = read(folder / "a.parquet", b"".join(write_parquet(corpus, Losses())))
    from_lines = list(read_json(folder / "a.jsonl", Reading(notify=lambda _: None)))
    assert from_rows == from_lines


def test_a_table_of_somebody_else_is_read_by_its_column_names(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"note": ["Take aspirin.", None, "Zinc."], "key": [7, 8, 9]})
    parquet.write_table(table, tmp_path / "notes.parquet")
    damaged: list[str] = []
    asked = Reading(text_field="note", id_field="key", notify=lambda _: None, report_damaged=damaged.append)
    found = list(read_parquet(tmp_path / "notes.parquet", asked))
    assert [(d.id, d.text) for d in found] == [("7", "Take aspirin."), ("9", "Zinc.")]
    assert len(damaged) == 1
    assert "row 2" in damaged[0]


@pytest.mark.parametrize("content", [b"", b"no", b"PAR1 and no more PAR1"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.parquet", content)
    assert str(caught.value).startswith(f"{tmp_path}/x.parquet: ")
    assert "\n" not in str(caught.value)
