"""Plain text: nothing of it changes, and a long one comes in parts."""

from __future__ import annotations

import codecs
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Document
from constrained_ner.errors import InputError
from constrained_ner.formats import text as text_module
from constrained_ner.formats.protocol import Reading
from constrained_ner.formats.text import read_text_file


def read(path: Path) -> list[Document]:
    return list(read_text_file(path, Reading()))


@pytest.mark.parametrize(
    "text", ["Aspirin.\r\nIron.\n\n", "\rä\x00b\u2028c\x0b", " ", "\n", "no end", "👩🏽‍⚕️\r\r\n"]
)
def test_a_text_is_what_the_file_holds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "leaflet.v2.txt"
    path.write_bytes(text.encode())
    [document] = read(path)
    assert (document.id, document.text, document.in_sentences) == ("leaflet.v2", text, False)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")],
)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, mark: bytes, encoding: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(mark + "5 µg\r\n".encode(encoding))
    assert [d.text for d in read(path)] == ["5 µg\r\n"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (codecs.BOM_UTF8, "the file is empty"),
        (b"one\ntwo\n5 \xb5g", "line 3: byte 10 (0xb5) is not UTF-8 text"),
        ("Aspirin".encode("utf-16-le"), "not UTF-8 text; if it is UTF-16"),
        (codecs.BOM_UTF16_LE + b"a\0b", "is not UTF-16 text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.txt: cannot be read: No such file"):
        read(tmp_path / "x.txt")


@given(
    pieces=st.lists(
        st.sampled_from(["a", "bc ", " ", "\n", "\r\n", "\r", "\n\n", "\t", "👩🏽", "."]), min_size=1
    )
)
def test_the_parts_of_a_long_text_are_the_text(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    text = "".join(pieces)
    path = tmp_path_factory.mktemp("long") / "x.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "LONGEST_PART", 8)
        parts = read(path)
    assert "".join(part.text or "" for part in parts) == text
    at = 0
    for part in parts:
        assert (part.id, part.start) == ("x", at)
        assert 0 < len(part.text or "") <= 8
        at += len(part.text or "")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("aaaa.\n\nb b\nc\nd", ["aaaa.\n\n", "b b\nc\nd"]),
        ("aaaa.\r\n\r\nb\r\nccc", ["aaaa.\r\n\r\n", "b\r\nccc"]),
        ("aaaaa\nb\ncccc dd", ["aaaaa\nb\n", "cccc dd"]),
        ("aaaa bb cccc", ["aaaa bb ", "cccc"]),
        ("aaaaaaaaaaaa", ["aaaaaaaaaa", "aa"]),
    ],
)
def test_a_long_text_is_cut_at_blank_lines_else_line_ends_else_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, parts: list[str]
) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode())
    monkeypatch.setattr(text_module, "LONGEST_PART", 10)
    assert [part.text for part in read(path)] == parts


def test_a_run_of_blanks_up_to_the_cut_takes_linear_time() -> None:
    n = 200_000
    began = time.process_time()
    assert text_module._place_to_cut("a" * n + " " * (n + 10), 2 * n) == 2 * n
    assert time.process_time() - began < 5  # a quadratic search takes minutes
    assert text_module._place_to_cut("aaa bbb  ccc", 11) == 9
