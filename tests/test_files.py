"""Texts of files as they are: encodings, line ends, and where a file cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constrained_ner.errors import InputError
from constrained_ner.files import decoded, decoded_lines, decoded_pieces

TEXT = "a\r\nµ\x00\r😀\n\nend"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_nuls_are_kept_and_a_byte_order_mark_is_not(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(TEXT.encode(encoding))
    assert decoded(path) == TEXT
    assert "".join(decoded_pieces(path)) == TEXT
    assert list(decoded_lines(path)) == ["a\r\n", "µ\x00\r😀\n", "\n", "end"]


def test_utf_16_of_either_order_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xfe\xff" + TEXT.encode("utf-16-be"))
    assert decoded(path) == "".join(decoded_lines(path)) == "".join(decoded_pieces(path)) == TEXT


@pytest.mark.parametrize(
    "read", [decoded, lambda path: list(decoded_lines(path)), lambda path: list(decoded_pieces(path))]
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\nc\xe9d\n", r"x.txt: line 3: byte 5 \(0xe9\) is not UTF-8 text"),
        (b"\xef\xbb\xbfa\n\xff", r"x.txt: line 2: byte 5 \(0xff\) is not UTF-8 text"),
        (b"\xff\xfea\x00\n\x00\x00\xd8b\x00", r"x.txt: line 2: byte 6 \(0x00\) is not UTF-16 text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_the_byte_that_is_not_of_the_encoding_is_named(
    tmp_path: Path, read, content: bytes, message: str
) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for read in (decoded, decoded_lines, decoded_pieces):
        with pytest.raises(InputError, match=r"x.txt: cannot be read: No such file"):
            list(read(tmp_path / "x.txt"))


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=50)
def test_all_ways_give_the_same_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("x") / "x.txt"
    path.write_bytes(text.encode("utf-8-sig"))
    assert decoded(path) == "".join(decoded_lines(path)) == "".join(decoded_pieces(path)) == text
