"""Files of real tools: all that they declare is read as expected, or it is told what is not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.data import Document, Mention, Span
from constrained_ner.formats import FORMATS
from constrained_ner.formats.protocol import Reading

FOLDERS = {
    "text": "text",
    "jsonl": "jsonl",
    "csv_tsv": "csv",
    "conll": "conll",
    "label_studio": "jsonl",
    "spacy": "spacy",
}

# What a file declares and a reader leaves out, with what it says of it.
NOT_READ = {
    "jsonl/doccano_label.jsonl": (1, 1, "line 3: no 'text' (its keys: 'label', 'meta')"),
    "jsonl/doccano_overlapping.jsonl": (0, 1, "a mention that repeats another is left out (line 1)"),
    "jsonl/doccano_old_annotations.jsonl": (0, 5, "a mention of a second user is left out"),
    "jsonl/langextract_medication.jsonl": (0, 1, "left out: line 2: 'Glucophage' has no offsets"),
    "jsonl/textae_rna.json": (0, 1, "a mention that repeats another is left out (record 1)"),
    # The first of its sentences is damaged; the mentions of the two others are not expected.
    "conll/doccano_invalid.conll": (0, -3, "line 1: 1 columns instead of 2"),
}


def expected() -> list[dict[str, Any]]:
    path = Path(__file__).parents[3] / "shared" / "formats" / "expected.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [
        e for e in entries if e["file"].partition("/")[0] in FOLDERS and not e["file"].endswith(".txt")
    ] + [e for e in entries if e["file"].startswith("text/")]


@pytest.fixture(scope="session")
def folder(shared: Path) -> Path:
    if not (shared / "formats").is_dir():
        pytest.skip(f"needs the sample files in {shared / 'formats'}")
    return shared / "formats"


def test_the_sample_files_are_there(folder: Path) -> None:
    assert len(expected()) == 47


def read(path: Path, name: str) -> tuple[list[Document], list[str]]:
    kind = "jsonl" if path.suffix == ".json" else FOLDERS[name.partition("/")[0]]
    if kind == "spacy":
        pytest.importorskip("spacy")
    reader = FORMATS[kind].read
    assert reader is not None
    told: list[str] = []
    return list(reader(path, Reading(notify=told.append, report_damaged=told.append))), told


@pytest.mark.parametrize("entry", expected(), ids=lambda entry: entry["file"])
def test_a_real_file_is_read_as_expected(folder: Path, entry: dict[str, Any]) -> None:
    documents, told = read(folder / entry["file"], entry["file"])
    n_documents, n_mentions, note = NOT_READ.get(entry["file"], (0, 0, ""))
    assert any(note in line for line in told) or not note
    mentions = [mention for document in documents for sentence in document for mention in sentence.mentions]
    assert len(documents) + n_documents == entry["documents"]
    assert len(mentions) + n_mentions == entry["mentions"]
    assert sum(mention.discontinuous for mention in mentions) == entry["discontinuous"]
    assert entry["stored_text_not_at_offsets"] == 0
    assert not any("other words than the text" in line for line in told)
    n_sentences = entry.get("also", {}).get("sentences")
    if n_sentences is not None:
        assert sum(len(document.sentences) for document in documents) == n_sentences
    for check in entry["checks"]:
        if check["spans"]:
            assert any(
                fits(mention, sentence.text, check, entry["file"])
                for sentence, mention in places(documents, check)
            )


def places(documents: list[Document], check: dict[str, Any]) -> Iterator[tuple[Any, Mention]]:
    """The mentions in the sentence, line or record that a check names."""
    where = re.match(r"(sentence|line|record|document) (\d+)", str(check["document"] or ""))
    sentences = [sentence for document in documents for sentence in document]
    if where and len(sentences) > 1:
        sentences = [sentences[int(where[2]) - (where[1] == "line")]]
    return ((sentence, mention) for sentence in sentences for mention in sentence.mentions)


def fits(mention: Mention, text: str, check: dict[str, Any], file: str) -> bool:
    spans = tuple(Span(start, end) for start, end in check["spans"])
    type_name = re.sub(r" \((user|tokens) .*\)", "", str(check["type"]))
    at_spans = " ".join(text[span.start : span.end] for span in mention.spans)
    return (mention.spans, mention.type, mention.text, at_spans) == (
        spans,
        type_name,
        check["stored_text"],
        check["text_at_spans"],
    )


@pytest.mark.parametrize(
    "entry", [e for e in expected() if e["file"].startswith("text/")], ids=lambda e: e["file"]
)
def test_a_text_is_the_bytes_of_its_file(folder: Path, entry: dict[str, Any]) -> None:
    [document], _ = read(folder / entry["file"], entry["file"])
    text = document.text or ""
    assert text.encode() == (folder / entry["file"]).read_bytes()
    assert len(text) == entry["also"]["code points"]
    assert text.endswith("\n") == entry["also"]["final newline"]


def test_both_editions_of_bc5cdr_have_the_same_mentions(folder: Path) -> None:
    iob2, _ = read(folder / "conll/bc5cdr_chem_iob2.tsv", "conll/x")
    iobes, _ = read(folder / "conll/bc5cdr_chem_iobes.tsv", "conll/x")
    assert [s.mentions for d in iob2 for s in d] == [s.mentions for d in iobes for s in d]
