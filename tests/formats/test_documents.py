"""Any input: which format it is of, which files of a folder count, ids, types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from constrained_ner.data import Document
from constrained_ner.errors import DamagedFilesError, InputError, UserError
from constrained_ner.formats.documents import format_of, read_documents, read_found
from constrained_ner.formats.protocol import Reading

DDI = (
    '<document id="d"><sentence id="d.s0" text="iron">'
    '<entity charOffset="0-3" type="drug" text="iron"/></sentence></document>'
)
PUBTATOR = "1|t|Iron.\n1|a|More iron.\n1\t0\t4\tIron\tChemical\n\n"


def read(path: Path, said: list[str] | None = None, **options: object) -> list[Document]:
    told = [] if said is None else said
    return list(
        read_documents(path, reading=Reading(notify=told.append, report_damaged=told.append), **options)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.xml", DDI, "ddi"),
        ("a.xml", "<collection><document><id>1</id><passage/></document></collection>", "bioc"),
        ("a.json", '{"source": "", "documents": [{"id": "1", "passages": []}]}', "bioc-json"),
        ("a.jsonl", '{"text": "iron"}\n', "jsonl"),
        ("a.txt", PUBTATOR, "pubtator"),
        ("a.txt", "Iron is a metal.", "text"),
        ("a.conll", "Iron\tB-drug\n", "conll"),
        ("a", '{"text": "iron"}\n', "jsonl"),
        ("a", DDI, "ddi"),
        ("a", "Iron is a metal.", "text"),
    ],
)
def test_a_format_is_recognised_by_name_and_content(
    tmp_path: Path, name: str, content: str, format: str
) -> None:
    (tmp_path / name).write_text(content)
    assert format_of(tmp_path / name) == format


def test_a_text_with_annotations_beside_it_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Iron is a metal.")
    (tmp_path / "a.ann").write_text("T1\tdrug 0 4\tIron\n")
    (tmp_path / "b.txt").write_text("Nobody has read this yet.")
    documents = read(tmp_path)
    assert [(d.id, len(list(d.located()))) for d in documents] == [("a", 1), ("b", 0)]


def test_notes_beside_a_corpus_are_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(DDI)
    (tmp_path / "README.txt").write_text("A corpus.")
    assert [d.id for d in read(tmp_path)] == ["d"]


def test_results_of_runs_in_a_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "iron"}\n')
    (tmp_path / "a.jsonl.mentions.jsonl").write_text("nonsense")
    (tmp_path / "a.jsonl.run.json").write_text("nonsense")
    assert [d.id for d in read(tmp_path)] == ["a"]


def test_a_folder_of_two_formats_asks_which(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(DDI)
    (tmp_path / "b.jsonl").write_text('{"id": "b", "text": "iron"}\n')
    with pytest.raises(InputError, match=r"several formats \(1 ddi, 1 jsonl\); choose one with --from"):
        read(tmp_path)
    assert [d.id for d in read(tmp_path, format="jsonl")] == ["b"]


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="unknown format; choose one with --from: "):
        read(tmp_path / "a.docx")
    with pytest.raises(UserError, match="'word' is not a format that can be read: choose one of ddi, "):
        read(tmp_path / "a.docx", format="word")
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files in this folder that can be read"):
        read(tmp_path / "empty")


def test_files_of_a_folder_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    for name, text in (("a", '{"id": "a", "text": "iron"}\n'), ("b", ""), ("c", "")):
        (tmp_path / f"{name}.jsonl").write_text(text)
    with pytest.raises(DamagedFilesError, match="2 of 3 files cannot be read:") as caught:
        read(tmp_path)
    assert len(str(caught.value).splitlines()) == 3
    skipped: list[str] = []
    documents = read(tmp_path, on_damaged=lambda path, _: skipped.append(path.name))
    assert ([d.id for d in documents], skipped) == (["a"], ["b.jsonl", "c.jsonl"])


def test_ids_that_repeat_in_other_files_are_qualified_and_that_is_said_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jsonl").write_text('{"id": "1", "text": "iron"}\n')
    said: list[str] = []
    documents = read(tmp_path, said)
    assert [d.id for d in documents] == ["1", "b/1", "c/1"]
    assert [s.id for d in documents for s in d] == ["1", "b/1", "c/1"]
    assert len(said) == 1


def test_types_are_renamed_and_others_are_left_out_which_is_said(tmp_path: Path) -> None:
    mentions = [{"start": 0, "end": 4, "type": "Chemical"}, {"start": 5, "end": 8, "type": "Gene"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "a", "text": "iron FTH", "mentions": mentions}))
    said: list[str] = []
    [document] = read(tmp_path / "a.jsonl", said, types={"Chemical": "drug"})
    assert [m.type for _, m in document.located()] == ["drug"]
    assert any("types that --types does not name are left out: 1 Gene" in line for line in said)


def test_results_are_found_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a|0-3|iron|drug\n")
    (tmp_path / "out.jsonl").write_text(
        json.dumps({"id": "a", "text": "iron", "mentions": [{"start": 0, "end": 4, "type": "drug"}]})
    )
    found = [read_found(tmp_path / name) for name in ("out", "out.jsonl")]
    assert [[(id, m.spans, m.type) for id, m in mentions] for mentions in found[:1]] * 2 == [
        [(id, m.spans, m.type) for id, m in mentions] for mentions in found
    ]


def test_a_damaged_file_among_others_is_named_and_what_lies_beside_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(DDI)
    (tmp_path / "b.xml").write_text("<document><sent")
    with pytest.raises(DamagedFilesError, match=r"b\.xml: not XML"):
        read(tmp_path)
    (tmp_path / "b.xml").unlink()
    (tmp_path / "notes.json").write_text("// nothing")
    assert [d.id for d in read(tmp_path)] == ["d"]


def test_results_without_texts_are_no_texts(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a|0-3|iron|drug\nb|0-3|zinc|drug\n")
    (tmp_path / "out.csv").write_text("id,start,end,text,type,confidence\na,0,4,iron,drug,\n")
    for name in ("out", "out.csv"):
        with pytest.raises(InputError, match="only evaluate can read"):
            read(tmp_path / name)
        assert next(m.text for _, m in read_found(tmp_path / name)) == "iron"
