"""XML as people have it is read verbatim: name spaces, control characters, code pages."""

from pathlib import Path

import pytest

from constrained_ner.data import Document, Sentence
from constrained_ner.errors import InputError
from constrained_ner.formats.ddi import read_ddi

EMPTY = '<document id="d"><sentence id="d.s0" text="{}"/></document>'


def text_of(folder: Path, content: bytes) -> str:
    path = folder / "corpus.xml"
    path.write_bytes(content)
    [document] = read_ddi(path)
    [sentence] = document
    return sentence.text


@pytest.mark.parametrize(
    "content",
    [
        '<c xmlns="http://x.org/1"><document id="d"><sentence id="d.s0" text="x"/></document></c>',
        '<n:c xmlns:n="u"><n:document id="d"><n:sentence id="d.s0" text="x"/></n:document></n:c>',
        '<c xmlns:n="u"><document n:id="d"><sentence n:id="d.s0" n:text="x"/></document></c>',
    ],
    ids=["default", "prefix", "attributes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_name_spaces(tmp_path: Path, content: str, encoding: str) -> None:
    path = tmp_path / "corpus.xml"
    path.write_bytes(content.encode(encoding))
    assert read_ddi(path) == [Document("d", (Sentence("d.s0", "x"),))]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Aspirin&#x1F; and", "Aspirin\x1f and"),
        ("a&#0;b&#8;c", "a\0b\x08c"),
        ("a\x0cb\x1bc", "a\x0cb\x1bc"),
        ("&#xFFFE;\uffff", "\ufffe\uffff"),
        ("&#xD800;&#x1F;", "\ufffd\x1f"),  # half a character cannot be held
        ("&#x1F48A;&#9;&#10;&amp;&#x1f;", "\U0001f48a\t\n&\x1f"),
    ],
)
def test_control_characters_are_read_verbatim(tmp_path: Path, written: str, text: str) -> None:
    assert text_of(tmp_path, EMPTY.format(written).encode()) == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1252", "50 µg – €"),
        ("windows-1251", "аспирин"),
        ("koi8-r", "аспирин"),
        ("shift_jis", "アスピリン"),
        ("gb18030", "阿司匹林"),
        ("euc-kr", "아스피린"),
        ("utf-16", "µ"),
        ("utf-32", "µ"),
        ("cp437", "µ"),
    ],
)
def test_code_pages(tmp_path: Path, encoding: str, text: str) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?>\n{EMPTY.format(text)}'.encode(encoding)
    assert text_of(tmp_path, content) == text


def test_a_byte_order_mark_counts_more_than_the_declaration(tmp_path: Path) -> None:
    content = f'<?xml version="1.0" encoding="utf-16"?>{EMPTY.format("µ")}'.encode("utf-8-sig")
    assert text_of(tmp_path, content) == "µ"


def test_xml_of_version_1_1(tmp_path: Path) -> None:
    assert text_of(tmp_path, f'<?xml version="1.1"?>{EMPTY.format("a&#1;")}'.encode()) == "a\x01"


def test_a_code_page_that_is_not_stated_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        text_of(tmp_path, EMPTY.format("50 µg").encode("cp1252"))
    assert "not XML: not well-formed" in str(caught.value)
    assert "byte 46 is not utf-8: state the encoding in the first line" in str(caught.value)


def test_the_fault_of_the_file_is_named_and_not_that_of_its_copy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not XML: .*line 3, column \d+$"):
        text_of(tmp_path, b'<?xml version="1.0"?>\n<document>\n<sentence id="a" text="\x01">')


def test_definitions_are_refused_in_a_repaired_file_too(tmp_path: Path) -> None:
    content = '<!DOCTYPE d [<!ENTITY a "ha">]>' + EMPTY.format("&#1;&a;")
    with pytest.raises(InputError, match="XML entities and external references are refused"):
        text_of(tmp_path, content.encode())


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    with pytest.raises(
        InputError, match=r"corpus\.xml: a Git LFS pointer, not the file itself; .*git lfs pull"
    ):
        text_of(tmp_path, pointer)
