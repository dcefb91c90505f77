"""What is left to annotate, in stretches that know nothing of each other: work for one process or for many.

A stretch begins where a block of the pipeline begins, and there drafts expect the same names whatever was
done before. So it does not matter who does a stretch, nor when: the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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


def stretches(sentences: Sequence[Sentence], finished: Mapping[str, SentenceResult]) -> list[Stretch]:
    """What is left of the sentences, block by block.

    finished: what an earlier run has done, by sentence id. Of each block the first ones count, up to a gap.
    """
    proven = any(result.failure is None for result in finished.values())
    left: list[Stretch] = []
    for start in range(0, len(sentences), BLOCK):
        stretch = Stretch((), tuple(sentences[start : start + BLOCK]), proven)
        results: list[Annotated] = []
        for sentence in stretch.sentences:
            if sentence.id not in finished:
                break
            result = finished[sentence.id]
            results.append(Annotated(sentence.with_mentions(result.found()), failure=result.failure))
        if len(results) < len(stretch.sentences):
            left.append(stretch.after(results))
    return left


def merged(found: Iterable[Stretch]) -> Iterator[Stretch]:
    """As few stretches, so that a back end with several slots need not run empty at the end of each block."""
    whole: Stretch | None = None
    for stretch in found:
        if whole is not None and not stretch.done:
            whole = replace(whole, sentences=whole.sentences + stretch.sentences)
            continue
        if whole is not None:
            yield whole
        whole = stretch
    if whole is not None:
        yield whole


def annotate_stretch(
    annotator: Annotator, stretch: Stretch, on_window: OnWindow | None
) -> Iterator[Annotated]:
    """The results of a stretch, in order, with the doubtful mentions if they are to be judged later."""
    return annotator.run(
        stretch.sentences,
        doubtful=bool(annotator.settings.consistency),
        finished=stretch.done,
        proven=stretch.proven,
        on_window=on_window,
    )
