"""spaCy's training files: every mention is a range of tokens, and is read back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Span
from constrained_ner.errors import InputError, MissingExtraError
from constrained_ner.formats.docbin import read_docbin, write_docbin
from constrained_ner.formats.protocol import Losses, Reading


def written(documents: list[Document]) -> tuple[bytes, Losses]:
    losses = Losses()
    return b"".join(write_docbin(documents, losses)), losses


def read(path: Path, content: bytes) -> tuple[list[Document], list[str]]:
    path.write_bytes(content)
    notes: list[str] = []
    return list(read_docbin(path, Reading(notify=notes.append))), notes


def test_without_spacy_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[spacy\]'"):
        read(tmp_path / "x.spacy", b"x")
    with pytest.raises(MissingExtraError):
        list(write_docbin([], Losses()))


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b"no", "not a DocBin of spaCy")]
)
def test_what_is_no_docbin_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    pytest.importorskip("spacy")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.spacy", content)
    assert str(caught.value).startswith(f"{tmp_path}/x.spacy: {message}")
    assert "\n" not in str(caught.value)


def test_a_mention_inside_a_token_cuts_it_and_an_overlapping_one_is_in_a_span_group(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    mentions = [
        Mention((Span(1, 8),), "drug", "aspirin", 0.5),
        Mention((Span(9, 21),), "group", "beta blocker"),
        Mention((Span(9, 13),), "drug", "beta"),
    ]
    content, losses = written([Document.of_text("d", "xaspirin beta blocker.", mentions)])
    [doc] = spacy.tokens.DocBin().from_bytes(content).get_docs(spacy.blank("en").vocab)
    assert doc.text == "xaspirin beta blocker."
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("aspirin", "drug"), ("beta blocker", "group")]
    assert [span.text for span in doc.spans["sc"]] == ["aspirin", "beta", "beta blocker"]
    assert losses.counts == {
        "confidences left out": 1,
        "mentions that overlap others, only in span group 'sc'": 1,
    }
    [document], _ = read(tmp_path / "x.spacy", content)
    assert document.id == "d"
    assert [(m.start, m.end) for m in document.sentences[0].mentions] == [(1, 8), (9, 13), (9, 21)]


@given(corpus=CORPORA)
@settings(max_examples=50)
def test_what_is_written_is_read_back_and_written_again_alike(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    pytest.importorskip("spacy")
    first, losses = written(corpus)
    path = tmp_path_factory.mktemp("spacy") / "x.spacy"
    if not any(document.text is not None or document.sentences for document in corpus):
        return
    found, notes = read(path, first)
    assert [m.spans for d in found for s in d for m in s.mentions if m.end > len(s.text)] == []
    assert written(found)[0] == first
    if not losses.counts and not notes:
        assert [{(m.spans, m.type) for _, m in d.located()} for d in found] == [
            {(m.spans, m.type) for _, m in d.located()} for d in corpus
        ]
