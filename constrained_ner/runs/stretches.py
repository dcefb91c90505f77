"""What is left to annotate, in stretches that know nothing of each other: work for one process or for many.

A stretch begins where a block of the pipeline begins, and there drafts expect the same names whatever was
done before. So it does not matter who does a stretch, nor when: the bytes are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ..annotation.annotator import Annotator
from ..annotation.pipeline import BLOCK, OnWindow
from ..annotation.result import Annotated
from ..data import Sentence
from .journal import SentenceResult


@dataclass(frozen=True)
class Stretch:
    """Sentences in a row from the start of a block.

    done: the first of them, as they came out, None for those that failed. sentences: the others.
    proven: the model has answered in an earlier run, so failures are those of sentences.
    """

    done: tuple[Sentence | None, ...]
    sentences: tuple[Sentence, ...]
    proven: bool = False

    def after(self, results: Sequence[Annotated]) -> Stretch:
        """What is left when these results, of the next sentences, are there."""
        more = tuple(None if r.failure is not None else r.sentence for r in results)
        return replace(self, done=self.done + more, sentences=self.sentences[len(results) :])


def stretches(
    sentences: Iterable[Sentence], find: Callable[[str], SentenceResult | None], *, proven: bool = False
) -> Iterator[Stretch]:
    """What is left of the sentences, block by block.

    find: what an earlier run has done, by sentence id. Of each block the first ones count, up to a gap.
    """
    rest = iter(sentences)
    while block := tuple(islice(rest, BLOCK)):
        results: list[Annotated] = []
        for sentence in block:
            result = find(sentence.id)
            if result is None:
                break
            results.append(Annotated(sentence.with_mentions(result.found()), failure=result.failure))
        if len(results) < len(block):
            yield Stretch((), block, proven).after(results)


def annotate_all(
    annotator: Annotator, found: Iterable[Stretch], on_window: OnWindow | None
) -> Generator[Annotated, None, None]:
    """The results of stretches, in order, with the doubtful mentions if they are to be judged later.

    Stretches that begin with nothing done go on in the same run, so that a back end with several slots need
    not run empty at the end of each block.
    """
    left = deque[Stretch]()
    source = iter(found)

    def sentences(first: Stretch) -> Iterator[Sentence]:
        yield from first.sentences
        for stretch in source:
            if stretch.done:
                left.append(stretch)
                return
            yield from stretch.sentences

    while (first := left.popleft() if left else next(source, None)) is not None:
        yield from annotator.run(
            sentences(first),
            doubtful=bool(annotator.settings.consistency),
            finished=first.done,
            proven=first.proven,
            on_window=on_window,
        )
