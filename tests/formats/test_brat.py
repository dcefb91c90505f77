"""BRAT pairs: every kind of line, lines that are damaged, and names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.brat import recognises_brat, write_brat
from constrained_ner.formats.protocol import Losses

TEXT = "Aspirin, iron\r\nand zinc tablets."


def pair(folder: Path, annotations: str, text: str = TEXT) -> Path:
    (folder / "d.txt").write_bytes(text.encode())
    (folder / "d.ann").write_bytes(annotations.encode())
    return folder / "d.ann"


def places(documents: list[Document]) -> list[tuple[str, list[tuple[int, int]], str]]:
    return [(m.type, [(s.start, s.end) for s in m.spans], m.text) for d in documents for _, m in d.located()]


def test_mentions_are_read_and_the_other_kinds_are_skipped_silently(tmp_path: Path, read) -> None:
    lines = [
        "T1\tdrug 0 7\tAspirin",
        "T2\tgroup 9 13;24 31\tiron tablets",
        "R1\tint Arg1:T1 Arg2:T2\t",
        "E1\tint:T1 ",
        "A1\tNegation E1",
        "M1\tSpeculation E1",
        "N1\tReference T1 ATC:B01AC06\tAspirin",
        "*\tEquiv T1 T2",
        "#1\tAnnotatorNotes T1\tsee T2",
    ]
    documents, told = read("brat", pair(tmp_path, "\n".join(lines)))
    assert places(documents) == [
        ("drug", [(0, 7)], "Aspirin"),
        ("group", [(9, 13), (24, 31)], "iron tablets"),
    ]
    assert not told
    assert (documents[0].id, documents[0].text, documents[0].in_sentences) == ("d", TEXT, False)


def test_either_file_of_the_pair_reads_it(tmp_path: Path, read) -> None:
    ann = pair(tmp_path, "T1\tdrug 0 7\tAspirin\n")
    assert read("brat", ann) == read("brat", ann.with_suffix(".txt"))


def test_entities_of_a_shared_task_are_in_a1(tmp_path: Path, read) -> None:
    path = pair(tmp_path, "")
    path.with_suffix(".a1").write_text("T1\tdrug 0 7\tAspirin\n")
    path.with_suffix(".a2").write_text("T2\tint 9 13\tiron\nE1\tint:T2 Theme:T1\n")
    assert [type for type, *_ in places(read("brat", path.with_suffix(".a2"))[0])] == ["drug", "int"]


def test_what_is_not_of_the_format_is_named_with_its_line(tmp_path: Path, read) -> None:
    lines = ["T1\tdrug 0 7\tAspirin", "aspirin", "T2\tdrug 9-13\tiron", "T3\tdrug 90 94\tgold", "X1\tdrug"]
    documents, told = read("brat", pair(tmp_path, "\n".join(lines)))
    assert len(places(documents)) == 1
    assert "2 of 3 mentions cannot be read and are left out: d.ann: line 3: not of the form" in told[0]
    assert "'gold' is empty or outside the text" in told[0]
    assert "2 lines are of no known kind and are skipped: d.ann: line 2: 'aspirin'; d.ann: line 5" in told[1]


def test_a_name_that_was_broken_in_two_lines_is_joined(tmp_path: Path, read) -> None:
    documents, told = read(
        "brat", pair(tmp_path, "T1\tgroup 9 23\tiron\r\nand zinc\nT2\tdrug 0 7\tAspirin\n")
    )
    assert places(documents)[1] == ("group", [(9, 23)], "iron\nand zinc")
    assert [line for line in told if "no known kind" in line] == []


def test_carriage_returns_count_unless_only_the_other_reading_fits(tmp_path: Path, read) -> None:
    documents, told = read("brat", pair(tmp_path, "T1\tdrug 19 23\tzinc\n"))
    assert (places(documents), told) == ([("drug", [(19, 23)], "zinc")], [])
    documents, told = read("brat", pair(tmp_path, "T1\tdrug 18 22\tzinc\n"))
    assert places(documents) == [("drug", [(19, 23)], "zinc")]
    assert "CR LF counted as one" in told[0]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_line(tmp_path: Path, read) -> None:
    documents, told = read("brat", pair(tmp_path, "\ufeffT1\tdrug 0 7\tAspirin\r\n\r\n"))
    assert (places(documents), told) == ([("drug", [(0, 7)], "Aspirin")], [])


def test_a_pair_that_is_not_complete_or_not_utf_8_is_refused(tmp_path: Path, read) -> None:
    path = pair(tmp_path, "")
    path.with_suffix(".txt").write_bytes(b"iron\nand caf\xe9")
    with pytest.raises(InputError, match=r"d.txt: line 2: byte 12 \(0xe9\) is not UTF-8 text"):
        read("brat", path)
    path.with_suffix(".txt").unlink()
    with pytest.raises(InputError, match=r"d.ann: its text is missing: there is no d.txt beside it"):
        read("brat", path)


def test_annotations_of_another_text_are_refused(tmp_path: Path, read) -> None:
    with pytest.raises(
        InputError, match=r"d.ann: does not fit d.txt: none of its 2 mentions .*line 1: 'gold'"
    ):
        read("brat", pair(tmp_path, "T1\tdrug 0 4\tgold\nT2\tdrug 90 96\tsilver\n"))


def test_a_text_alone_is_no_pair(tmp_path: Path) -> None:
    path = pair(tmp_path, "").with_suffix(".txt")
    assert recognises_brat(path, "")
    path.with_suffix(".ann").unlink()
    assert not recognises_brat(path, "")


def mention(text: str, *spans: tuple[int, int], type: str = "drug") -> Mention:
    return Mention(tuple(Span(*span) for span in spans), type, text)


def test_a_mention_across_a_line_break_is_written_in_pieces() -> None:
    losses = Losses()
    document = Document.of_text("a/b", "iron\r\noxide", [mention("iron\r\noxide", (0, 11), type="a b")])
    assert list(write_brat([document], losses)) == [
        ("a_b.txt", "iron\r\noxide"),
        ("a_b.ann", "T1\ta_b 0 4;6 11\tiron oxide\n"),
    ]
    assert losses.counts == {
        "mentions across a line break written in pieces": 1,
        "types written with _ for blanks": 1,
        "document ids changed to be names of files": 1,
    }


def test_names_of_files_are_safe_and_different() -> None:
    ids = ["../x", "a", "A", "", ".", "x" * 300, "x" * 301]
    names = [name for name, _ in write_brat([Document.of_text(id, "") for id in ids], Losses())][::2]
    assert names == [
        "__x.txt",
        "a.txt",
        "A-2.txt",
        "document.txt",
        "_.txt",
        "x" * 200 + ".txt",
        "x" * 200 + "-2.txt",
    ]


def test_names_of_files_are_cut_to_what_a_file_system_takes(tmp_path: Path) -> None:
    ids = ["药" * 100, "药" * 101, "a" + "药" * 100]
    names = [name for name, _ in write_brat([Document.of_text(id, "") for id in ids], Losses())][::2]
    assert names == ["药" * 66 + ".txt", "药" * 66 + "-2.txt", "a" + "药" * 66 + ".txt"]
    for name in names:
        (tmp_path / name).touch()


def test_sentences_without_a_document_text_are_written_a_line_each() -> None:
    sentences = (Sentence("s0", "No."), Sentence("s1", "Iron.", (mention("Iron", (0, 4)),)))
    assert list(write_brat([Document("d", sentences)], Losses())) == [
        ("d.txt", "No.\nIron."),
        ("d.ann", "T1\tdrug 4 8\tIron\n"),
    ]


def test_the_parts_of_a_long_text_are_written_as_one() -> None:
    parts = [
        Document.of_text("d", "iron ", [mention("iron", (0, 4))]),
        Document.of_text("d", "zinc", [mention("zinc", (0, 4))], start=5),
    ]
    written: dict[str, str] = {}
    for name, text in write_brat(parts, Losses()):
        written[name] = written.get(name, "") + text
    assert written == {"d.txt": "iron zinc", "d.ann": "T1\tdrug 0 4\tiron\nT2\tdrug 5 9\tzinc\n"}
