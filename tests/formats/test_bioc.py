"""BioC in XML and JSON: passages at their offsets, and every way in which offsets are counted wrongly."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.bioc import recognises_bioc, write_bioc
from constrained_ner.formats.bioc_json import recognises_bioc_json, write_bioc_json
from constrained_ner.formats.ddi import recognises_ddi
from constrained_ner.formats.protocol import Losses

Location = tuple[int, int, str]
"""Offset, length, words."""


def annotation(offset: int, length: int, words: str, type: str = "drug") -> dict[str, Any]:
    infons = {"type": type} if type else {}
    return {"id": "1", "infons": infons, "text": words, "locations": [{"offset": offset, "length": length}]}


def passage(offset: int, text: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"offset": offset, "text": text, "annotations": list(annotations), **more}


def json_file(folder: Path, *passages: dict[str, Any], **more: Any) -> Path:
    path = folder / "x.json"
    content = {"documents": [{"id": "d", "passages": passages, **more}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def xml_file(folder: Path, content: str, head: str = "") -> Path:
    path = folder / "x.xml"
    path.write_text(f"{head}<collection>{content}</collection>", encoding="utf-8")
    return path


def places(documents: list[Document]) -> list[tuple[int, int, str]]:
    return [(m.start, m.end, m.text) for d in documents for _, m in d.located()]


def test_a_passage_is_at_its_offset_whatever_the_lengths_before(tmp_path: Path, read) -> None:
    path = json_file(tmp_path, passage(0, "Iron."), passage(9, "Zinc too.", annotation(9, 4, "Zinc")))
    (document,), told = read("bioc-json", path)
    assert document.text == "Iron.    Zinc too."
    assert [(s.id, s.start) for s in document] == [("d.p0", 0), ("d.p1", 9)]
    assert (places([document]), told) == ([(9, 13, "Zinc")], [])


def test_sentences_are_parts_of_the_document(tmp_path: Path, read) -> None:
    sentences = [passage(5, "Iron."), passage(11, "Zinc.", annotation(11, 4, "Zinc"))]
    (document,), _ = read("bioc-json", json_file(tmp_path, passage(5, "", sentences=sentences)))
    assert document.in_sentences
    assert document.text == "     Iron. Zinc."
    assert [s.mentions for s in document][1][0].spans == (Span(0, 4),)


def test_annotations_of_the_document_and_across_passages_are_kept(tmp_path: Path, read) -> None:
    path = json_file(
        tmp_path,
        passage(0, "Iron"),
        passage(5, "oxide", annotation(0, 10, "Iron oxide")),
        annotations=[annotation(5, 5, "oxide")],
    )
    (document,), told = read("bioc-json", path)
    assert (places([document]), told) == ([(0, 10, "Iron oxide"), (5, 10, "oxide")], [])
    assert len(document.sentences) == 1


TITLE, ABSTRACT = "A 😀's µ & iron", "µ: zinc, iron's zinc"


@pytest.mark.parametrize(
    ("unit", "told_unit"),
    [
        (len, None),
        (lambda text: len(text.encode()), "UTF-8 bytes"),
        (lambda text: len(text.encode("utf-16-le")) // 2, "UTF-16 units"),
    ],
)
def test_the_unit_of_all_offsets_is_found_out(tmp_path: Path, read, unit, told_unit: str | None) -> None:
    second = unit(TITLE) + 1
    path = json_file(
        tmp_path,
        passage(0, TITLE, annotation(unit(TITLE[:-4]), 4, "iron")),
        passage(second, ABSTRACT, annotation(second + unit("µ: "), 4, "zinc")),
        passage(second + unit(ABSTRACT) + 1, "iron", annotation(second + unit(ABSTRACT) + 1, 4, "iron")),
    )
    (document,), told = read("bioc-json", path)
    assert document.text == f"{TITLE} {ABSTRACT} iron"
    text = document.text
    assert places([document]) == [(10, 14, "iron"), (18, 22, "zinc"), (len(text) - 4, len(text), "iron")]
    assert [told_unit in line for line in told] == ([True] if told_unit else [])


def test_offsets_of_passages_in_escaped_characters_are_found_out(tmp_path: Path, read) -> None:
    offset = len(html.escape(TITLE)) + 1
    zinc = len(TITLE) + 1 + ABSTRACT.index("zinc")
    path = json_file(tmp_path, passage(0, TITLE), passage(offset, ABSTRACT, annotation(zinc, 4, "zinc")))
    (document,), told = read("bioc-json", path)
    assert document.text == f"{TITLE} {ABSTRACT}"
    assert places([document]) == [(zinc, zinc + 4, "zinc")]
    assert "those of passages characters as XML escapes them" in told[0]


@pytest.mark.parametrize("base", ["passage", "sentence"])
def test_offsets_in_a_passage_or_sentence_are_found_out(tmp_path: Path, read, base: str) -> None:
    offset = 3 if base == "sentence" else 9
    sentences = [passage(20, "No 1."), passage(26, "No zinc here", annotation(offset, 4, "zinc"))]
    (document,), told = read("bioc-json", json_file(tmp_path, passage(20, "", sentences=sentences)))
    assert places([document]) == [(29, 33, "zinc")]
    assert f"in their {base}" in told[0]


def test_two_ways_that_fit_equally_are_not_chosen_from(tmp_path: Path, read) -> None:
    # "zinc" is at 3, which is 12 in the passage, and at 12.
    sentences = [passage(20, "No zinc."), passage(29, "No zinc, an zinc", annotation(12, 4, "zinc"))]
    with pytest.raises(InputError, match=r"cannot tell what the offsets count: .* in their"):
        read("bioc-json", json_file(tmp_path, passage(20, "", sentences=sentences)))


def test_words_that_differ_and_annotations_outside_are_counted(tmp_path: Path, read) -> None:
    path = json_file(
        tmp_path,
        passage(0, "Iron and zinc", annotation(0, 4, "Iron"), annotation(9, 4, "Zn", type="")),
        passage(20, "", annotation(20, 4, "gold")),
        annotations=[{"id": "7", "text": "tin"}],
    )
    (document,), told = read("bioc-json", path)
    assert places([document]) == [(0, 4, "Iron"), (9, 13, "Zn")]
    assert "1 of 4 mentions have other words" in told[0]
    assert "2 of 4 mentions cannot be read" in told[1]
    assert "annotation '7': no location" in told[1]
    assert "1 mentions have no type" in told[2]


def test_passages_that_overlap_are_put_one_after_the_other(tmp_path: Path, read) -> None:
    path = json_file(tmp_path, passage(0, "Iron"), passage(0, "Zinc", annotation(0, 4, "Zinc")))
    (document,), told = read("bioc-json", path)
    assert (document.text, places([document])) == ("Iron Zinc", [(5, 9, "Zinc")])
    assert "1 passages begin before the end of the one before" in told[0]


XML = """<document><id>1</id><infon key="x">y</infon><passage><infon key="type">title</infon>
<offset>0</offset><text>Iron &amp; zinc</text>
<annotation id="a"><infon key="type">drug</infon><infon key="confidence">0.5</infon>
<location offset="0" length="4"/><location offset="7" length="4"/><text>Iron zinc</text></annotation>
<relation id="R"><node refid="a" role="x"/></relation></passage></document>"""


def test_xml_needs_no_dtd(tmp_path: Path, read) -> None:
    path = xml_file(tmp_path, XML, '<?xml version="1.0"?><!DOCTYPE collection SYSTEM "BioC.dtd">')
    (document,), told = read("bioc", path)
    ((_, mention),) = document.located()
    assert (document.text, mention.spans) == ("Iron & zinc", (Span(0, 4), Span(7, 11)))
    assert (mention.type, mention.confidence, told) == ("drug", 0.5, [])


def test_xml_and_ddi_are_told_apart_by_their_first_characters() -> None:
    bioc, ddi = "<?xml version='1.0'?>\n<collection>", "<document id='d1'><sentence"
    assert (recognises_bioc(Path("x.xml"), bioc), recognises_ddi(Path("x.xml"), bioc)) == (True, False)
    assert (recognises_bioc(Path("x.xml"), ddi), recognises_ddi(Path("x.xml"), ddi)) == (False, True)
    assert recognises_bioc_json(Path("x.json"), '[{"id": 1, "passages": [')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<document><id>1</id>", r"x.xml: not XML: mismatched tag: line 1"),
        (
            "<document><id>1</id><passage><offset>x</offset></passage></document>",
            r"passage 1: its offset is not",
        ),
        ("", "no documents"),
        (
            "<document><passage><offset>99999999</offset><text>x</text></passage></document>",
            "begins at 99999999",
        ),
    ],
)
def test_damaged_xml_is_refused_with_the_place(tmp_path: Path, read, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read("bioc", xml_file(tmp_path, content))


def test_a_damaged_document_is_reported_and_the_others_are_read(tmp_path: Path, read) -> None:
    bad = "<document><id>2</id><passage><offset>x</offset></passage></document>"
    path = xml_file(tmp_path, bad + XML + bad)
    (document,), told = read("bioc", path)
    assert (document.id, len(told)) == ("1", 2)
    assert f"{path}: document '2': passage 1: its offset is not a number: 'x'" in told
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps({"documents": [{"id": 1}, {"id": 2, "passages": [passage(0, "Iron")]}, 3]}, indent=0)
    )
    (document,), told = read("bioc-json", path)
    assert document.id == "2"
    assert [line.split(": ")[1] for line in told] == ["line 3", "line 16"]


def test_entities_of_xml_are_refused(tmp_path: Path, read) -> None:
    with pytest.raises(InputError, match="XML entities and external references are refused"):
        read(
            "bioc",
            xml_file(tmp_path, "&a;", '<!DOCTYPE collection [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
        )


def test_xml_with_control_characters_is_read(tmp_path: Path, read) -> None:
    (document,), _ = read("bioc", xml_file(tmp_path, XML.replace("zinc</text>", "\x01zinc</text>", 1)))
    assert document.text == "Iron & \x01zinc"


@pytest.mark.parametrize("shape", ["PubTator3", "one", "lines", "collections"])
def test_every_shape_of_json_is_read(tmp_path: Path, read, shape: str) -> None:
    one = {"_id": "7|None", "id": 7, "pmid": 7, "passages": [passage(0, "Iron", annotation(0, 4, "Iron"))]}
    shapes = {
        "PubTator3": json.dumps({"PubTator3": [one, one]}, indent=1),
        "one": json.dumps(one),
        "lines": f"{json.dumps(one)}\n{json.dumps(one)}\n",
        "collections": json.dumps([{"documents": [one]}, {"documents": [one]}]),
    }
    path = tmp_path / "x.json"
    path.write_text(shapes[shape])
    documents, _ = read("bioc-json", path)
    assert [d.id for d in documents] == (["7"] if shape == "one" else ["7", "7-2"])
    assert places(documents)[0] == (0, 4, "Iron")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"documents": [\n{"id": 1}]}', r"x.json: line 2: no BioC document: .*\(found: id\)"),
        ('{"documents": [\n{"passages": []\n "id"]}', "x.json: line 3: not JSON"),
        ('{"documents": [{"passages": [{"text": ""}]}]}', "passage 1: its offset is missing"),
        ('[{"passages": []},', "x.json: line 1: not JSON: .*the file ends"),
        ("", "no documents"),
        ("[[1]]", "found: list"),
    ],
)
def test_json_that_is_not_bioc_is_refused_with_its_line(
    tmp_path: Path, read, content: str, message: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read("bioc-json", path)


@pytest.mark.parametrize(("name", "write"), [("bioc", write_bioc), ("bioc-json", write_bioc_json)])
def test_parts_of_a_text_are_one_document_and_losses_are_counted(
    tmp_path: Path, read, name: str, write
) -> None:
    parts = [
        Document.of_text("d", "Iron\n", [Mention((Span(0, 4),), "drug", "Iron", 0.25)]),
        Document.of_text("d", "\x01zinc", [Mention((Span(1, 5),), "drug", "zinc")], start=5),
        Document("e", (Sentence("e.s0", "One."), Sentence("e.s1", "Two."), Sentence("e.s2", ""))),
    ]
    losses = Losses()
    path = tmp_path / "x"
    path.write_text("".join(write(parts, losses)), encoding="utf-8")
    (first, second), _ = read(name, path)
    bad = "\ufffd" if name == "bioc" else "\x01"
    assert (first.text, second.text) == (f"Iron\n{bad}zinc", "One. Two.")
    assert [m.confidence for _, m in first.located()] == [0.25, None]
    assert places([first]) == [(0, 4, "Iron"), (6, 10, "zinc")]
    assert second.in_sentences
    assert losses.counts["line breaks and other characters between passages left out"] == 2
    assert losses.counts["empty sentences left out"] == 1
