"""Tables: how they are written is found out; mentions are written as spreadsheets read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.protocol import Losses, Reading
from constrained_ner.formats.tables import read_mention_table, read_table, write_mention_table


def read(path: Path, content: str, **fields: str) -> tuple[list[Document], list[str], list[str]]:
    path.write_text(content, encoding="utf-8", newline="")
    notes: list[str] = []
    damaged: list[str] = []
    reading = Reading(notify=notes.append, report_damaged=damaged.append, **fields)  # type: ignore[arg-type]
    return list(read_table(path, reading)), notes, damaged


@pytest.mark.parametrize(
    "content",
    [
        'id,text\n1,Take zinc.\n2,"Iron, too"\n',
        "id;text\n1;Take zinc.\n2;Iron, too\n",
        "id\ttext\n1\tTake zinc.\n2\tIron, too",
        "id$text\r\n1$Take zinc.\r\n2$Iron, too\r\n",
        "\ufeffid|text\n1|Take zinc.\n\n2|Iron, too\n",
        'more,text,id\nx,Take zinc.,1\ny,"Iron, too",2\n',
    ],
)
def test_the_separator_is_found_out(tmp_path: Path, content: str) -> None:
    documents, _, damaged = read(tmp_path / "x.csv", content)
    assert [(d.id, d.text) for d in documents] == [("1", "Take zinc."), ("2", "Iron, too")]
    assert not damaged


def test_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("text,label\r\n5 µg,a\r\nb,c".encode("utf-16"))
    assert [d.text for d in read_table(path, Reading())] == ["5 µg", "b"]


def test_quoted_line_ends_are_text(tmp_path: Path) -> None:
    documents, _, _ = read(tmp_path / "x.csv", 'text,n\n"one\r\n\r\n""two""",1\n three ,2\n')
    assert [(d.id, d.text) for d in documents] == [("x.1", 'one\r\n\r\n"two"'), ("x.2", " three ")]


def test_quotation_marks_of_a_table_without_quoting_are_text(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"Aspirin" helps\n2\t5" wide\n'
    assert [d.text for d in read(tmp_path / "x.tsv", content)[0]] == ['"Aspirin" helps', '5" wide']


def test_a_table_may_have_one_column(tmp_path: Path) -> None:
    assert [d.text for d in read(tmp_path / "x.csv", "text\nTake zinc, then iron.\nb\n")[0]] == [
        "Take zinc, then iron.",
        "b",
    ]


def test_columns_may_be_named(tmp_path: Path) -> None:
    content = "key, note,text\nk1,Zinc,x\nk2,Iron,y\n"
    documents, notes, _ = read(tmp_path / "x.csv", content, text_field="note", id_field="key")
    assert [(d.id, d.text) for d in documents] == [("k1", "Zinc"), ("k2", "Iron")]
    assert not notes


def test_another_column_than_text_is_told(tmp_path: Path) -> None:
    documents, notes, _ = read(tmp_path / "x.csv", "Sentence Text,n\nZinc,1\n")
    assert [d.text for d in documents] == ["Zinc"]
    assert "column 'Sentence Text'" in notes[0]


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("", {}, "the file is empty"),
        ("a,b\n1,2\n", {}, "no column 'text' (its columns: 'a', 'b'); name the column with --text-field"),
        ("a,b\n1,2\n", {"text_field": "c"}, "no column 'c' for --text-field (its columns: 'a', 'b')"),
        ("a,text\n1,2\n", {"id_field": "c"}, "no column 'c' for --id-field"),
        ("text,b\n", {}, "no records"),
    ],
)
def test_a_table_without_texts_is_refused(
    tmp_path: Path, content: str, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.csv", content, **fields)
    assert str(caught.value).startswith(f"{tmp_path}/x.csv: {message}")


def test_a_row_with_too_few_cells_is_reported(tmp_path: Path) -> None:
    documents, _, damaged = read(tmp_path / "x.csv", "text,n\na,1\nb\nc,3\n")
    assert [(d.id, d.text) for d in documents] == [("x.1", "a"), ("x.3", "c")]
    assert damaged == [f"{tmp_path}/x.csv: line 3: 1 cells instead of 2: 'b'"]


def test_a_quotation_mark_that_is_not_closed_is_reported(tmp_path: Path) -> None:
    _, _, damaged = read(tmp_path / "x.csv", "text,n\na,1\n" * 4000 + '"b,2\nc,3\n')
    assert len(damaged) == 1
    assert "line 8001: not a row of a table" in damaged[0]


def test_the_mentions_of_label_studios_export_are_read(tmp_path: Path) -> None:
    regions = json.dumps([{"start": 5, "end": 9, "text": "zinc", "labels": ["drug"]}]).replace('"', '""')
    content = f'annotation_id,id,ner,text\n7,1,"{regions}",Take zinc.\n8,2,,None\n'
    documents, _, damaged = read(tmp_path / "x.csv", content)
    assert [[(m.start, m.end, m.type) for s in d for m in s.mentions] for d in documents] == [
        [(5, 9, "drug")],
        [],
    ]
    assert not damaged


def test_mentions_are_rows_that_no_spreadsheet_runs() -> None:
    mentions = [
        Mention((Span(0, 2), Span(10, 18)), "group", "H1 blockers", 0.5),
        Mention((Span(7, 9),), "=drug", "-H2"),
    ]
    losses = Losses()
    table = "".join(write_mention_table([Document.of_text("d,1", "H1 and H2 blockers", mentions)], losses))
    assert table == (
        'id,start,end,text,type,confidence\n"d,1",0,18,H1 blockers,group,0.5\n"d,1",7,9,\'-H2,\'=drug,\n'
    )
    assert losses.counts == {"discontinuous mentions written from their first to their last character": 1}


@given(corpus=CORPORA)
def test_written_mentions_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_text("".join(write_mention_table(corpus, Losses())), encoding="utf-8", newline="")
    found = read_mention_table(path)
    assert [(id, m.start, m.end, m.type) for id, m in found] == [
        (id, m.start, m.end, m.type) for document in corpus for id, m in document.located()
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n", "the columns are not id, start"),
        ("id,start,end,text,type,confidence\nx,1,1,a,b,\n", "line 2: not a mention: span 1-1 is empty"),
        ("id,start,end,text,type,confidence\nx,1\n", "line 2: not a mention: not enough values"),
        ('id,start,end,text,type,confidence\nx,1,"a"b\n', "line 2: not a row of a table"),
    ],
)
def test_a_row_that_is_no_mention_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_mention_table(path)
    assert str(caught.value).startswith(f"{path}: {message}")
