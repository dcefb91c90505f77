"""The table of formats: what is written is read back, one sentence at a time."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError, UserError
from constrained_ner.formats import FORMATS, writable
from constrained_ner.formats.mentions import MentionRecord
from constrained_ner.formats.name_lines import read_names
from constrained_ner.formats.protocol import Losses

WRITERS = {name: format.write for name, format in FORMATS.items() if format.write}
DOCUMENTS = [
    Document(
        "d1",
        (
            Sentence("d1.s0", "Aspirin and iron.", (Mention((Span(0, 7),), "drug", "Aspirin"),)),
            Sentence("d1.s1", "Nothing.", ()),
        ),
    ),
    Document(
        "d2",
        (
            Sentence(
                "d2.s0",
                "salts and zinc",
                (
                    Mention((Span(0, 5), Span(10, 14)), "group", "salts zinc"),
                    Mention((Span(10, 14),), "drug", "zinc"),
                ),
            ),
        ),
    ),
]


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    chosen, path = FORMATS[name], tmp_path / "out"
    assert chosen.write is not None
    path.write_text("".join(chosen.write(DOCUMENTS, Losses())), encoding="utf-8")
    if chosen.read_mentions:
        found = [(id, m.spans, m.type, m.text) for id, m in chosen.read_mentions(path)]
        expected = [(id, m) for document in DOCUMENTS for id, m in document.located()]
        if name == "csv":  # which has a start and an end
            expected = [(id, replace(m, spans=(Span(m.start, m.end),))) for id, m in expected]
        assert found == [(id, m.spans, m.type, m.text) for id, m in expected]


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "html"])  # its legend counts all of it
def test_a_writer_reads_no_further_than_it_writes(name: str) -> None:
    taken: list[int] = []

    def source() -> Iterator[Document]:
        for n in range(10):
            taken.append(n)
            yield replace(DOCUMENTS[0], id=f"d{n}")

    write = FORMATS[name].write
    assert write is not None
    pieces = write(source(), Losses())
    assert any("irin" in piece for piece in pieces)  # stops at the first that holds the name
    assert len(taken) <= 2  # it may have to know whether there is another


def test_every_format_can_do_something() -> None:
    for format in FORMATS.values():
        assert (
            format.read or format.read_mentions or format.write or format.write_bytes or format.write_folder
        )
        assert format.summary


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 2: not JSON: "),
        ("{}", "line 2: sentence: missing\na line of a mentions file has at least: {"),
        (
            '{"sentence": "s", "start": 4, "end": 4, "text": "", "type": "x", "provenance": "exact"}',
            "line 2: span 4-4 is empty",
        ),
    ],
)
def test_a_malformed_mention_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "out.mentions.jsonl"
    good = MentionRecord.of("s", Mention((Span(0, 4),), "drug", "iron")).line()
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(InputError) as caught:
        FORMATS["mentions"].read_mentions(path)  # type: ignore[misc]
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_margin_of_minus_infinity_is_read_back(tmp_path: Path) -> None:
    margins = ((-math.inf, -2.5), ())
    mention = Mention((Span(0, 4),), "drug", "iron", 0.5, "constrained", None, margins)
    path = tmp_path / "out.mentions.jsonl"
    path.write_text(
        "".join(FORMATS["mentions"].write([Document("d", (Sentence("s", "iron", (mention,)),))], Losses()))
    )  # type: ignore[misc]
    assert "Infinity" not in path.read_text().replace('"-Infinity"', "")  # plain JSON
    [(_, found)] = FORMATS["mentions"].read_mentions(path)  # type: ignore[misc]
    assert found.margins == margins
    path.write_text(path.read_text().replace('"-Infinity"', "null"))  # as earlier versions wrote it
    [(_, found)] = FORMATS["mentions"].read_mentions(path)  # type: ignore[misc]
    assert found.margins == margins


def test_the_mentions_file_is_useful_without_the_corpus() -> None:
    lines = "".join(FORMATS["mentions"].write(DOCUMENTS, Losses())).splitlines()  # type: ignore[misc]
    records = [json.loads(line) for line in lines]
    texts = {r["sentence"]: r["sentence_text"] for r in records if "sentence_text" in r}
    assert texts == {"d1.s0": "Aspirin and iron.", "d2.s0": "salts and zinc"}
    assert len(records) == 3  # the text only once a sentence
    assert texts["d1.s0"][records[0]["start"] : records[0]["end"]] == records[0]["text"]


# Lists of names


def test_names_are_read_plain_and_gzipped(tmp_path: Path) -> None:
    text = "aspirin|drug\n\n1|2-dione|drug_n\n"
    (tmp_path / "names").write_text(text)
    (tmp_path / "names.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("names", "names.gz"):
        assert read_names(tmp_path / name) == [("aspirin", "drug"), ("1|2-dione", "drug_n")]


@pytest.mark.parametrize("line", ["aspirin", "aspirin|", "|drug"])
def test_a_name_without_a_type_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "names").write_text(f"iron|drug\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_names(tmp_path / "names")
    assert str(caught.value) == f"{tmp_path / 'names'}: line 2: {line!r} is not of the form name|type"


def test_half_a_gzip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "names.gz").write_bytes(gzip.compress(b"aspirin|drug\n" * 1000)[:-20])
    with pytest.raises(InputError, match=r"names\.gz: cannot be read: "):
        read_names(tmp_path / "names.gz")


def test_a_git_lfs_pointer_in_place_of_names_is_named(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="a Git LFS pointer, not the file itself"):
        read_names(tmp_path / "names")


def test_a_format_that_cannot_be_written_is_refused_with_those_that_can() -> None:
    assert writable("lines") is FORMATS["lines"]
    with pytest.raises(UserError, match=r"'word' is not a format that can be written: choose one of .*lines"):
        writable("word")


def test_the_documentation_has_a_line_for_every_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    listed = {name for line in page.splitlines() if line.startswith("| `") for name in [line.split("`")[1]]}
    assert listed == set(FORMATS) - {"mentions"}  # which docs/files.md describes
