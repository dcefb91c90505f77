"""Sentence ids that are unique in their file or document alone: qualified, and said once."""

from pathlib import Path

import pytest

from constrained_ner.data import Document
from constrained_ner.errors import InputError
from constrained_ner.formats.ddi import read_ddi


def read(path: Path) -> tuple[list[str], list[str]]:
    """The sentence ids, and what was said."""
    said: list[str] = []
    documents: list[Document] = read_ddi(path, notify=said.append)
    return [sentence.id for document in documents for sentence in document], said


def folder_of(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def document(name: str, *ids: str) -> str:
    return f'<document id="{name}">{"".join(f"""<sentence id="{i}" text="x"/>""" for i in ids)}</document>'


def test_ids_that_repeat_in_other_files_are_qualified_by_the_file(tmp_path: Path) -> None:
    folder_of(tmp_path, {"p1.xml": document("p", "s1", "s2"), "sub/p2.xml": document("p", "s1")})
    ids, said = read(tmp_path)
    assert ids == ["p1/s1", "p1/s2", "sub/p2/s1"]
    [note] = said
    assert note.startswith(f"{tmp_path}: sentence id 's1' and others repeat")
    assert "qualified by their file (first: 'p1/s1')" in note


def test_ids_that_repeat_in_other_documents_are_qualified_by_the_document(tmp_path: Path) -> None:
    (tmp_path / "all.xml").write_text(f"<r>{document('d1', 's1')}{document('d2', 's1')}</r>")
    ids, [note] = read(tmp_path / "all.xml")
    assert ids == ["d1/s1", "d2/s1"]
    assert "by their document" in note


def test_ids_that_repeat_in_files_and_in_documents_are_qualified_by_both(tmp_path: Path) -> None:
    two = f"<r>{document('d1', 's1')}{document('d2', 's1')}</r>"
    folder_of(tmp_path, {"a.xml": two, "b.xml": two})
    ids, [note] = read(tmp_path)
    assert ids == ["a/d1/s1", "a/d2/s1", "b/d1/s1", "b/d2/s1"]
    assert "by their file and document" in note


def test_files_that_differ_in_their_suffix_alone_keep_it(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.XML": document("d", "s"), "a.xml": document("d", "s")})
    assert read(tmp_path)[0] == ["a.XML/s", "a.xml/s"]


def test_names_get_nothing_that_evaluator_lines_forbid(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a|b.xml": document("d", "s"), "c.xml": document("d", "s")})
    assert read(tmp_path)[0] == ["a_b/s", "c/s"]


def test_unique_ids_stay_as_they_are(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.xml": document("d", " s1"), "b.xml": document("d", "s1")})
    assert read(tmp_path) == ([" s1", "s1"], [])


def test_an_id_twice_in_one_document_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.xml": document("d", "s1"), "b.xml": document("d", "s7", "s7")})
    with pytest.raises(InputError, match=r"b\.xml: duplicate sentence id 's7'$"):
        read_ddi(tmp_path)
