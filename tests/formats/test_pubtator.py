"""PubTator: its columns, its relations, repeated ids, and what is not of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.protocol import UNTYPED, Losses
from constrained_ner.formats.pubtator import recognises_pubtator, write_pubtator

FILE = """
7|t|Iron a|b
7|a|And zinc.
7\t0\t4\tIron\tdrug\tD1|D2\tiron|Fe
7\t13\t17\tzinc\tdrug
7\tCID\tD1\tD2
"""


def file(folder: Path, content: str) -> Path:
    path = folder / "x.pubtator"
    path.write_bytes(content.encode())
    return path


def test_title_and_abstract_are_passages_of_one_text(tmp_path: Path, read) -> None:
    (document,), told = read("pubtator", file(tmp_path, FILE))
    assert (document.id, document.text, document.in_sentences) == ("7", "Iron a|b And zinc.", False)
    assert [(s.start, s.text) for s in document] == [(0, "Iron a|b"), (9, "And zinc.")]
    assert [(m.start, m.end, m.text, m.type) for _, m in document.located()] == [
        (0, 4, "Iron", "drug"),
        (13, 17, "zinc", "drug"),
    ]
    assert not told
    assert recognises_pubtator(Path("x.txt"), FILE)
    assert not recognises_pubtator(Path("x.txt"), "Iron |t| is no title\n7|t|iron")


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n"])
def test_a_document_ends_where_the_next_begins_or_the_file_does(tmp_path: Path, read, end: str) -> None:
    documents, told = read(
        "pubtator", file(tmp_path, f"1|t|A\n1|a|\n2|t|Iron\n2|a|B\n2\t0\t4\tIron\tdrug{end}")
    )
    assert [(d.id, d.text, len(list(d.located()))) for d in documents] == [("1", "A ", 0), ("2", "Iron B", 1)]
    assert not told


def test_documents_with_one_id_are_numbered(tmp_path: Path, read) -> None:
    documents, told = read("pubtator", file(tmp_path, "1|t|A\n1|a|\n\n1|t|B\n1|a|\n\n1-2|t|C\n1|t|D\n"))
    assert [d.id for d in documents] == ["1", "1-2", "1-2-2", "1-3"]
    assert "3 documents have the id of an earlier one" in told[0]


def test_offsets_in_bytes_are_found_out(tmp_path: Path, read) -> None:
    content = "1|t|Öl µ\n1|a|Iron und Zink\n1\t8\t12\tIron\tdrug\n1\t17\t21\tZink\tdrug\n"
    (document,), told = read("pubtator", file(tmp_path, content))
    assert [m.start for _, m in document.located()] == [5, 14]
    assert "UTF-8 bytes" in told[0]
    assert "2 of 2 names" in told[0]


def test_lines_that_are_neither_text_nor_mention_nor_relation_are_named(tmp_path: Path, read) -> None:
    content = "1|t|Iron\n1|a|\nnote\n2\t0\t4\tIron\tdrug\n1\t0\t4\tIron\n1\tx1\n1\t0\t90\tIron\tdrug\n"
    (document,), told = read("pubtator", file(tmp_path, content))
    assert [m.type for _, m in document.located()] == [UNTYPED]
    assert "line 7: 'Iron' is empty or outside the text" in told[0]
    assert "3 lines are of no known kind and are skipped: line 3: 'note'; line 4: '2" in told[1]
    assert "1 mentions have no type" in told[2]


def test_a_file_of_something_else_is_refused(tmp_path: Path, read) -> None:
    with pytest.raises(
        InputError, match=r"x.pubtator: line 2: a line of the form ID\|t\|title was expected: 'Iron"
    ):
        read("pubtator", file(tmp_path, "\nIron\n"))
    with pytest.raises(InputError, match=r"x.pubtator: no documents"):
        read("pubtator", file(tmp_path, "\n"))


def test_what_cannot_be_written_is_counted() -> None:
    mentions = [
        Mention((Span(0, 4), Span(9, 14)), "metal oxide", "iron oxide", 0.5),
        Mention((Span(0, 4),), "drug", "iron"),
    ]
    losses = Losses()
    text = "".join(write_pubtator([Document.of_text("a|b", "iron\tand\noxide", mentions)], losses))
    assert text.splitlines() == [
        "a_b|t|iron and oxide",  # the mention is not cut at the line break
        "a_b|a|",
        "a_b\t0\t4\tiron\tdrug",
        "a_b\t0\t14\tiron and oxide\tmetal oxide",
        "",
    ]
    assert losses.counts["discontinuous mentions written from their first to their last character"] == 1
    assert losses.counts["confidences left out"] == 1
    assert losses.counts["line breaks and tabs written as spaces"] == 2
