"""Documents annotated one after the other, as they are done: for a pipe, which cannot be resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..annotation.about import About
from ..annotation.documents import settled
from ..annotation.result import Annotated
from ..annotation.settings import Settings
from ..data import Document, Sentence
from .examples import with_examples
from .job import OpenAnnotator, load_annotator, open_team
from .progress import ProgressDisplay
from .source import Source
from .stretches import stretches
from .workers import WorkerProcesses


def annotate_stream(
    source: Source,
    settings: Settings,
    *,
    open_annotator: OpenAnnotator = load_annotator,
    workers: WorkerProcesses | None = None,
    progress: ProgressDisplay,
) -> Iterator[Document]:
    """The documents of a source with their mentions, in order, each as soon as it is done.

    A sentence that fails is named, and says why (`failure`). Raises UserError.
    """
    input = source.input
    shown = with_examples(settings, source.every_document, input.path, progress.note, input.example_types)
    with open_team(workers, open_annotator, shown, progress) as team:
        under_way: deque[_UnderWay] = deque()
        waiting: dict[str, _UnderWay] = {}  # id of a sentence -> its document

        def sentences() -> Iterator[Sentence]:
            for document in source.documents():
                under_way.append(_UnderWay(document))
                waiting.update((sentence.id, under_way[-1]) for sentence in document)
                yield from document

        def whole() -> Iterator[Document]:
            while under_way and len(under_way[0].done) == len(under_way[0].document.sentences):
                yield under_way.popleft().settled(team.about)

        for annotated in team.annotate(stretches(sentences(), lambda _: None), progress.within):
            if annotated.failure is not None:
                progress.say(f"sentence {annotated.sentence.id}: {annotated.failure}")
            waiting.pop(annotated.sentence.id).done[annotated.sentence.id] = annotated
            yield from whole()
        yield from whole()


@dataclass
class _UnderWay:
    """A document, and those of its sentences that are done."""

    document: Document
    done: dict[str, Annotated] = field(default_factory=dict)

    def settled(self, about: About) -> Document:
        return settled(self.document, [self.done[sentence.id] for sentence in self.document], about)
