"""What is written, read and written again is the same file, byte for byte, whatever the documents."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Span
from constrained_ner.errors import InputError
from constrained_ner.formats import FORMATS
from constrained_ner.formats.passages import with_texts
from constrained_ner.formats.protocol import Losses, Reading

ONE_FILE = ["ddi", "bioc", "bioc-json", "pubtator", "inline"]


def written(name: str, documents: Iterable[Document], losses: Losses | None = None) -> str:
    write = FORMATS[name].write
    assert write is not None
    return "".join(write(documents, losses or Losses()))


def read(name: str, content: str) -> list[Document]:
    reader = FORMATS[name].read
    assert reader is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(content.encode())
        return list(reader(path, Reading(notify=lambda _: None)))


def read_folder(files: Iterable[tuple[str, str]]) -> list[Document]:
    """The documents of a BRAT folder, in the order of their files."""
    with tempfile.TemporaryDirectory() as folder:
        texts = []
        for name, content in files:
            path = Path(folder, name)
            with path.open("ab") as file:
                file.write(content.encode())
            if path.suffix == ".txt" and path not in texts:
                texts.append(path)
        reader = FORMATS["brat"].read
        assert reader is not None
        return [document for path in texts for document in reader(path, Reading(notify=lambda _: None))]


def brat(documents: Iterable[Document], losses: Losses | None = None) -> list[tuple[str, str]]:
    write = FORMATS["brat"].write_folder
    assert write is not None
    return list(write(documents, losses or Losses()))


def located(documents: Iterable[Document]) -> list[list[Mention]]:
    """The mentions of each document, with offsets in its text, sorted."""
    return [
        sorted(
            (m for _, m in next(with_texts([d])).located()),
            key=lambda m: (m.spans, m.type, str(m.confidence)),
        )
        for d in documents
    ]


@pytest.mark.parametrize("name", ONE_FILE)
@given(corpus=CORPORA)
@settings(max_examples=100)
def test_the_second_file_is_the_first(name: str, corpus: list[Document]) -> None:
    first = written(name, corpus)
    if not any(document.sentences for document in corpus):
        with contextlib.suppress(InputError):  # without documents, or without sentences
            assert written(name, read(name, first)) == first
        return
    assert written(name, read(name, first)) == first


@given(corpus=CORPORA)
@settings(max_examples=100)
def test_the_second_brat_folder_is_the_first(corpus: list[Document]) -> None:
    first = brat(corpus)
    assert brat(read_folder(first)) == first


@pytest.mark.parametrize("name", ["bioc", "bioc-json"])
@given(corpus=CORPORA.filter(bool))
@settings(max_examples=100)
def test_bioc_keeps_every_mention_and_passage(name: str, corpus: list[Document]) -> None:
    documents = read(name, written(name, corpus))
    assert located(documents) == located(corpus)
    assert [d.id for d in documents] == [d.id for d in corpus]
    for after, before in zip(documents, with_texts(corpus), strict=True):
        assert [(s.start, s.text) for s in after if s.text] == [(s.start, s.text) for s in before if s.text]


@given(corpus=CORPORA)
@settings(max_examples=100)
def test_ddi_keeps_every_sentence(corpus: list[Document]) -> None:
    losses = Losses()
    content = written("ddi", corpus, losses)
    if any(document.sentences for document in corpus):
        after = [sentence for document in read("ddi", content) for sentence in document]
        before = [sentence for document in corpus for sentence in document]
        assert [s.text for s in after] == [s.text for s in before]
        kept = [[(m.spans, m.type, m.text) for m in s.mentions] for s in before]
        assert [[(m.spans, m.type, m.text) for m in s.mentions] for s in after] == kept
    n_confidences = sum(m.confidence is not None for mentions in located(corpus) for m in mentions)
    assert losses.counts["confidences left out"] == n_confidences


@given(corpus=CORPORA)
@settings(max_examples=100)
def test_brat_keeps_texts_and_places_and_counts_what_it_cuts(corpus: list[Document]) -> None:
    losses = Losses()
    documents = read_folder(brat(corpus, losses))
    assert [d.text for d in documents] == [d.text for d in with_texts(corpus)]
    cut = dropped = 0
    for after, before in zip(located(documents), located(corpus), strict=True):
        whole = [m for m in before if not any(c in "\r\n" for c in m.text)]
        assert {(m.spans, m.type.replace(" ", "_")) for m in whole} <= {(m.spans, m.type) for m in after}
        cut += len(before) - len(whole)
        dropped += len(before) - len(after)
    assert losses.counts["mentions of nothing but line breaks left out"] == dropped
    assert losses.counts["mentions across a line break written in pieces"] <= cut


@given(corpus=CORPORA.filter(bool))
@settings(max_examples=100)
def test_pubtator_keeps_offsets_and_counts_discontinuous_mentions(corpus: list[Document]) -> None:
    losses = Losses()
    documents = read("pubtator", written("pubtator", corpus, losses))
    for after, before in zip(documents, with_texts(corpus), strict=True):
        text = re.sub(r"[\n\r\t]", " ", before.text or "")
        assert (after.text or "").rstrip() == text.rstrip()
    outer = [[(Span(m.start, m.end), m.type) for m in mentions] for mentions in located(corpus)]
    assert [[(m.spans[0], m.type) for m in ms] for ms in located(documents)] == [sorted(o) for o in outer]
    n_discontinuous = sum(m.discontinuous for mentions in located(corpus) for m in mentions)
    assert (
        losses.counts["discontinuous mentions written from their first to their last character"]
        == n_discontinuous
    )


@given(corpus=CORPORA)
@settings(max_examples=100)
def test_inline_tags_keep_names_and_count_what_crosses(corpus: list[Document]) -> None:
    losses = Losses()
    content = written("inline", corpus, losses)
    if not content:
        return
    after = [m for mentions in located(read("inline", content)) for m in mentions]
    before = [m for mentions in located(corpus) for m in mentions]
    crossing = losses.counts["mentions left out because they cross an earlier one"]
    assert len(after) == len(before) - crossing
    if not crossing and not any(m.discontinuous for m in before):
        assert sorted((m.text, m.type) for m in after) == sorted((m.text, m.type) for m in before)
