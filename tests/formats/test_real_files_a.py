"""Real files of BRAT, BioC, PubTator, DDI, GENETAG, inline tags: read as expected, or refused with reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.data import Document, Mention, covered_text
from constrained_ner.errors import InputError
from constrained_ner.formats import FORMATS
from constrained_ner.formats.protocol import UNTYPED, Reading

FOLDER = Path(__file__).parents[3] / "shared" / "formats"
KINDS = ("brat", "bioc_xml", "bioc_json", "pubtator", "ddi_xml", "inline")
EXPECTED: list[dict[str, Any]] = (
    json.loads((FOLDER / "expected.json").read_text("utf-8")) if FOLDER.is_dir() else []
)
READ = [entry for entry in EXPECTED if entry["file"].startswith(KINDS)]
REFUSED = {
    "csv_tsv/genetag_gold.txt": r"genetag_gold.txt: line 1: '@@86474344011\|12 12\|TBP' counts the words",
    "html/displacy.html": r"displacy.html: a page in HTML: .* bring the file that it was made from",
}
ALL_MISPLACED_BY_THE_RULE = "bioc_xml/bc5cdr_sample.xml"
IN_SENTENCES = "bioc_xml/example-with-sentences.xml"

pytestmark = pytest.mark.skipif(not EXPECTED, reason=f"needs the sample files in {FOLDER}")


def read(file: str) -> tuple[list[Document], list[str]]:
    """The documents of a sample file, by the format that recognises it, and what was told."""
    path = FOLDER / file
    head = path.read_bytes()[:65536].decode("utf-8", "replace")
    for format in FORMATS.values():
        fits = path.name.endswith(format.suffixes) and (
            not format.recognises or format.recognises(path, head)
        )
        if format.read and fits:
            told: list[str] = []
            return list(format.read(path, Reading(notify=told.append))), told
    raise AssertionError(f"no format for {file}")


def mentions(documents: list[Document]) -> list[tuple[str, Mention, str]]:
    """Every mention, with offsets in its document or in a sentence without one, and the text there."""
    return [
        (
            name,
            mention,
            covered_text(document.text if document.text is not None else texts[name], mention.spans),
        )
        for document in documents
        for texts in [{sentence.id: sentence.text for sentence in document}]
        for name, mention in document.located()
    ]


@pytest.mark.parametrize("entry", READ, ids=[entry["file"] for entry in READ])
def test_a_real_file_is_read_as_expected(entry: dict[str, Any]) -> None:
    documents, told = read(entry["file"])
    found = mentions(documents)
    left_out = sum(int(line.split(": ")[1].split()[0]) for line in told if "left out" in line)
    assert len(documents) == entry["documents"]
    assert len(found) + left_out == entry["mentions"]
    assert sum(mention.discontinuous for _, mention, _ in found) == entry["discontinuous"]
    differing = sum(" ".join(there.split("\n")) != mention.text for _, mention, there in found)
    if entry["file"] == ALL_MISPLACED_BY_THE_RULE:
        assert "43 of 43 names match (the rule: 18)" in told[0]
        assert differing == 0
    else:
        assert differing + left_out == entry["stored_text_not_at_offsets"]
        assert (
            bool(differing) <= any("other words than the text" in line for line in told)
            or "ddi" in entry["file"]
        )
    for check in entry["checks"]:
        if not left_out:
            check_place(check, documents, found, moved=10 if entry["file"] == IN_SENTENCES else 0)


def check_place(
    check: dict[str, Any], documents: list[Document], found: list[tuple[str, Mention, str]], *, moved: int
) -> None:
    """moved: what was added to the offsets of the file, to make them count in the document."""
    spans = tuple((start + moved, end + moved) for start, end in check["spans"])
    there = [m for _, m, _ in found if tuple((s.start, s.end) for s in m.spans) == spans]
    assert (check["stored_text"], check["type"] or UNTYPED) in [(m.text, m.type) for m in there]


@pytest.mark.parametrize(("file", "message"), REFUSED.items())
def test_what_cannot_be_read_is_refused_with_the_reason(file: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(file)
    assert "\n" not in str(refused.value)


def test_units_and_repeated_ids_are_told() -> None:
    documents, told = read("pubtator/gnormplus_byte_offsets.pubtator")
    assert "reading offsets as UTF-8 bytes" in told[0]
    assert all(there == mention.text for _, mention, there in mentions(documents))
    documents, told = read("pubtator/nlmchem_repeated_id.pubtator")
    assert [d.id for d in documents][:3] == ["19148276", "19148276-2", "19148276-3"]
    assert "numbered" in told[0]


def test_offsets_of_passages_are_taken_as_written() -> None:
    (document,), _ = read("bioc_xml/pmc_9586773_part.xml")
    assert len(document.sentences) == 14
    assert 4269 in [passage.start for passage in document]  # 13 more than the lengths before it
    assert document.text is not None
    for passage in document:
        assert document.text[passage.start :].startswith(passage.text)
