"""A corpus in partitions: files of whole documents, each of which may be annotated by itself, and again.

    corpus -> FOLDER/input/part-00000.jsonl, ...      what a machine is given
           -> FOLDER/part-00000.jsonl, ...            what it writes, each with its mentions and its record

A partition holds what the reader of the corpus gave: ids, repeated ones already told apart, and texts. So
nothing that was decided over the whole corpus is decided again, and it does not matter who does a partition.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data import Document
from ..errors import InputError
from ..files import atomic_writer, output_errors
from ..formats.jsonl import write_jsonl
from ..formats.protocol import Losses

CHARACTERS = 200_000
"""Characters of a partition, about: some 1,500 sentences, a quarter of a minute of the bundled model."""


@dataclass(frozen=True)
class Partition:
    """number: from 0. input: the documents as JSON lines. output: where its results go."""

    number: int
    input: Path
    output: Path


def write_partitions(
    documents: Iterable[Document], folder: Path, suffix: str, n_characters: int = CHARACTERS
) -> list[Partition]:
    """Write the inputs of all partitions.

    suffix: how the names of the outputs end. The same documents give the same partitions. Raises InputError
    for a document that JSON lines cannot hold, OutputError.
    """
    with output_errors(folder):
        inputs_of(folder).mkdir(parents=True, exist_ok=True)
    found: list[Partition] = []
    for number, some in enumerate(_cut(documents, n_characters)):
        name = f"part-{number:05d}"
        partition = Partition(number, inputs_of(folder) / f"{name}.jsonl", folder / f"{name}{suffix}")
        with atomic_writer(partition.input) as file:
            file.writelines(write_jsonl(some, Losses()))
        found.append(partition)
    return found


def remove_inputs(folder: Path) -> None:
    """Remove what `write_partitions` wrote, once all are done."""
    shutil.rmtree(inputs_of(folder), ignore_errors=True)


def inputs_of(folder: Path) -> Path:
    return folder / "input"


def _cut(documents: Iterable[Document], n_characters: int) -> Iterator[Sequence[Document]]:
    """Documents in a row, as few as have so many characters together."""
    some: list[Document] = []
    n = 0
    for document in documents:
        if document.text is not None and len(document.sentences) > 1:
            raise InputError(
                f"document {document.id!r:.80} consists of passages: partitions hold plain texts and "
                "sentences; convert the input to JSON lines first (bin/convert)"
            )
        some.append(replace(document, sentences=tuple(s.with_mentions(()) for s in document)))
        n += sum(len(sentence.text) for sentence in document)
        if n >= n_characters:
            yield some
            some, n = [], 0
    if some:
        yield some
