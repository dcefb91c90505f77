"""Whole documents through an annotator: cut into sentences, annotated, made to agree."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ..data import Document, Sentence
from ..text.sentences import cut_document, known_names
from .about import About
from .result import Annotated


def annotated_documents(
    documents: Iterable[Document], run: Callable[[Iterator[Sentence]], Iterator[Annotated]], about: About
) -> Iterator[tuple[Document, list[Annotated]]]:
    """The documents with their mentions, in order, each with the results of its sentences.

    run: annotates sentences, in order. It may ask for those of later documents before it answers.
    """
    waiting: deque[Document] = deque()

    def sentences() -> Iterator[Sentence]:
        for document in documents:
            waiting.append(cut_document(document, known_names()))
            yield from waiting[-1]

    found: list[Annotated] = []
    for annotated in run(sentences()):
        while not waiting[0].sentences:
            yield waiting.popleft(), []
        found.append(annotated)
        if len(found) == len(waiting[0].sentences):
            yield settled(waiting.popleft(), found, about), found
            found = []
    yield from ((document, []) for document in waiting)


def settled(document: Document, found: Sequence[Annotated], about: About) -> Document:
    """The document with what was found in its sentences, made to agree. Those that failed say why."""
    succeeded = [annotated.sentence for annotated in found if annotated.failure is None]
    if about.consistency:
        succeeded = about.judge.agreed(succeeded)
    agreed = iter(succeeded)
    sentences = (next(agreed) if a.failure is None else replace(a.sentence, failure=a.failure) for a in found)
    return replace(document, sentences=tuple(sentences))
