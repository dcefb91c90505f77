"""What is written, read and written again is the same file, byte for byte, whatever the documents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from random_documents import CORPORA

from constrained_ner.data import Document
from constrained_ner.errors import InputError
from constrained_ner.formats import FORMATS
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


@pytest.mark.parametrize("name", ONE_FILE)
@given(corpus=CORPORA)
@settings(max_examples=100)
def test_the_second_file_is_the_first(name: str, corpus: list[Document]) -> None:
    first = written(name, corpus)
    try:
        documents = read(name, first)
    except InputError as error:  # a corpus without documents, or without sentences
        assert "no " in str(error) and not any(document.sentences for document in corpus)
        return
    assert written(name, documents) == first
