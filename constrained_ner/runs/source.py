"""What a run annotates: the sentences of an input, read from the disk each time they are needed.

An input may be larger than memory. So it is read once to check it, to count it and to hash it; once to
annotate it; and once to write the outputs. Only a document is held at a time, but a corpus in DDI XML is held
whole: its files are judged together.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import Document, Sentence
from ..errors import DamagedFilesError, InputError
from ..formats.documents import read_documents
from ..formats.protocol import Reading
from ..text.sentences import cut_documents, known_names
from .splits import DataHash, Split, split_of

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Input:
    """What to annotate, and how to read it.

    called: what to call it in messages and records, if not by its path (a pipe). format: a name in
    `formats.FORMATS`; None to recognise it. example_types: what files of
    examples call a type -> what we call it. limit: only the first so many sentences. split: which split it
    is, if it is not a known one. skip_damaged: leave out files of a folder that cannot be read.
    """

    path: Path
    called: str | None = None
    format: str | None = None
    reading: Reading = field(default_factory=Reading)
    example_types: Mapping[str, str] | None = None
    limit: int | None = None
    split: Split | None = None
    skip_damaged: bool = False

    @property
    def name(self) -> str:
        return self.called or str(self.path)


@dataclass(frozen=True)
class Source:
    """An input that has been checked.

    n_sentences: within the limit. n_texts: sentences of a corpus, or documents of running text, that are
    whole within it. texts_hash: of the sentences, in order. data_hash: of all texts of the input, in any
    order. skipped: what could not be read, files or records, with the reasons.
    """

    input: Input
    n_sentences: int
    n_texts: int
    texts_hash: str
    data_hash: str
    split: Split | None
    skipped: tuple[tuple[str, str], ...]

    @classmethod
    def check(cls, input: Input, notify: Notify) -> Source:
        """Read the input once. Raises InputError for what cannot be annotated."""
        skipped: list[tuple[str, str]] = []

        def skip_file(path: Path, message: str) -> None:
            skipped.append((str(path), message.removeprefix(f"{path}: ")))

        def skip_record(message: str) -> None:
            skipped.append((input.name, message.removeprefix(f"{input.path}: ")))

        def tell(message: str) -> None:
            notify(message.replace(str(input.path), input.name))

        reading = replace(input.reading, notify=tell, report_damaged=skip_record)
        texts, data = hashlib.sha256(), DataHash()
        ids = _Ids()
        n_sentences = n_texts = 0
        try:
            for document, is_whole in _read(input, reading, skip_file, data):
                texts.update(_content(document))
                n_sentences += len(document.sentences)
                if document.text is None:
                    n_texts += len(document.sentences)
                elif not document.continues:
                    n_texts += is_whole
                for sentence in document:
                    ids.add(sentence.id, input.name)
        except DamagedFilesError as error:
            advice = "" if input.skip_damaged else "\npass --skip-bad to go on with the others"
            raise DamagedFilesError(f"{error}{advice}") from None
        if not n_sentences:
            raise InputError(f"{input.name}: no text in it" + (f" ({skipped[0][1]})" if skipped else ""))
        split = split_of(data.hexdigest(), input.split, input.path)
        return cls(input, n_sentences, n_texts, texts.hexdigest(), data.hexdigest(), split, tuple(skipped))

    def documents(self) -> Iterator[Document]:
        """The documents cut into sentences, within the limit."""
        return self._again(self.input)

    def sentences(self) -> Iterator[Sentence]:
        """The sentences of the documents."""
        return (sentence for document in self.documents() for sentence in document)

    def every_document(self) -> list[Document]:
        """All documents, whatever the limit. Holds them in memory."""
        return list(self._again(replace(self.input, limit=None)))

    def uncut_documents(self) -> Iterator[Document]:
        """The documents as their format has them: running text is not cut. The limit does not count."""
        return _documents(self.input, _silent(self.input.reading), _say_nothing)

    @staticmethod
    def _again(input: Input) -> Iterator[Document]:
        """Read an input again, silently."""
        return (document for document, _ in _read(input, _silent(input.reading), _say_nothing))


def _say_nothing(*message: object) -> None:
    pass


def _silent(reading: Reading) -> Reading:
    return replace(reading, notify=_say_nothing, report_damaged=_say_nothing)


class _Ids:
    """Refuses an id that is used twice: results are kept by it."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes, because there may be many

    def add(self, id: str, name: str) -> None:
        if hash(id) in self._seen:
            raise InputError(f"{name}: sentence id {id!r:.80} is used twice")
        self._seen.add(hash(id))


def _content(document: Document) -> bytes:
    """What an answer depends on: the sentences, and which belong together."""
    return json.dumps([document.id, [(sentence.id, sentence.text) for sentence in document]]).encode()


def _read(
    input: Input, reading: Reading, skip_file: Callable[[Path, str], None], data: DataHash | None = None
) -> Iterator[tuple[Document, bool]]:
    """The documents cut into sentences, or what the limit leaves of them, and whether each is whole.

    data: takes all that the input consists of, beyond the limit, too; without it nothing beyond is read.
    """
    n_left = input.limit
    documents = _documents(input, reading, skip_file)
    noted = documents if data is None else _noted(documents, data)
    for cut in cut_documents(noted, known_names()):
        if n_left is None or len(cut.sentences) <= n_left:
            yield cut, True
        else:
            yield replace(cut, sentences=cut.sentences[:n_left]), False
        n_left = n_left and n_left - min(n_left, len(cut.sentences))
        if n_left == 0:
            break
    if data is not None:
        deque(noted, maxlen=0)


def _documents(input: Input, reading: Reading, skip_file: Callable[[Path, str], None]) -> Iterator[Document]:
    return read_documents(
        input.path,
        format=input.format,
        reading=reading,
        on_damaged=skip_file if input.skip_damaged else None,
    )


def _noted(documents: Iterator[Document], data: DataHash) -> Iterator[Document]:
    for document in documents:
        for text in document.texts():
            data.add(text)
        yield document
