"""What annotates documents for a service: the annotator of this process.

Documents that are annotated at the same time share forward passes through the scheduler of the model. Each is
a run of its own, so what it gets depends on nothing else in the house.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..annotation.about import About
from ..annotation.annotator import Annotator
from ..annotation.documents import settled
from ..annotation.result import Annotated
from ..annotation.xray import XRay
from ..data import Document, Sentence
from ..runs.stretches import Stretch, annotate_all, stretches
from ..text.sentences import cut_document, known_names
from .turns import Answer, Turns

_MOST_VARIANTS = 16
_HIDDEN_FAILURE = "the model's server did not answer this text"


class Engine(Protocol):
    """n_at_once: documents that it has use for at the same time; what is beyond them waits.

    knows_confidence: whether the model reports confidence.
    """

    @property
    def n_at_once(self) -> int: ...

    @property
    def about(self) -> About: ...

    @property
    def knows_confidence(self) -> bool: ...

    @property
    def ready(self) -> bool: ...

    def annotate(self, document: Document, options: Mapping[str, Any]) -> Answer[Document]:
        """The document to come, cut into sentences if it is not, with its mentions. Returns at once.

        options: fields of `Settings` that are `per_request`. Sentences that fail say why. The answer raises
        UserError if the model cannot go on.
        """

    def xray(self, text: str, options: Mapping[str, Any]) -> Future[XRay]:
        """A sentence decision by decision. The answer raises SentenceError for one that is too long."""

    def close(self) -> None:
        """Finish what is under way, and close the model."""


@dataclass(frozen=True)
class _Variant:
    annotator: Annotator
    about: About


class ThisProcess:
    """An engine of one model in this process. Annotators with other options share it.

    A model of one slot has one thread: a second one could only wait for it, and would move the work from one
    processor to another. A model of several slots has threads enough to fill them.
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._lock = threading.Lock()
        self._variants: OrderedDict[str, _Variant] = OrderedDict()
        n_slots = annotator.backend.max_sequences
        n_threads = 1 if n_slots == 1 else 2 * n_slots
        self._turns = Turns(n_threads)
        self.about = annotator.about()
        self.knows_confidence = annotator.knows_confidence
        self.n_at_once = n_threads + 1  # the next one is at hand when one is done
        self.ready = True
        self._tells_failures = annotator.backend.shows_logits

    def annotate(self, document: Document, options: Mapping[str, Any]) -> Answer[Document]:
        return self._turns.take(lambda answer: self._steps(document, options, answer))

    def _steps(
        self, document: Document, options: Mapping[str, Any], answer: Answer[Document]
    ) -> Generator[None, None, Document]:
        """Annotate a document; others may have a turn before each of its sentences but the first."""
        variant = self._variant(options)
        cut = cut_document(document, known_names())
        found = list[Annotated]()
        with closing(annotate_all(variant.annotator, whole(cut), answer.check)) as results:
            for annotated in results:
                found.append(annotated)
                if len(found) < len(cut.sentences):
                    yield
                    answer.check()
        if not self._tells_failures:  # they name the server
            found = [replace(a, failure=a.failure and _HIDDEN_FAILURE) for a in found]
        return settled(cut, found, variant.about)

    def xray(self, text: str, options: Mapping[str, Any]) -> Future[XRay]:
        return self._turns.call(lambda: self._variant(options).annotator.xray(text))

    def _variant(self, options: Mapping[str, Any]) -> _Variant:
        """The annotator with these options."""
        key = json.dumps(options, sort_keys=True)
        with self._lock:
            if key not in self._variants:
                self._variants[key] = self._made(options)
                if len(self._variants) > _MOST_VARIANTS:
                    self._variants.popitem(last=False)
            self._variants.move_to_end(key)
            return self._variants[key]

    def _made(self, options: Mapping[str, Any]) -> _Variant:
        if not options:
            return _Variant(self._annotator, self.about)
        settings = self._annotator.settings.changed(examples=self._annotator.examples, **options)
        annotator = Annotator(self._annotator.backend, settings, notify=_say_nothing)
        return _Variant(annotator, annotator.about())

    def close(self) -> None:
        self.ready = False
        self._turns.close()
        self._annotator.close()


def whole(document: Document) -> Sequence[Stretch]:
    """A document as the stretches of a run of its own."""
    find: Callable[[str], None] = lambda _: None  # noqa: E731
    sentences: Sequence[Sentence] = document.sentences
    return list(stretches(sentences, find))


def _say_nothing(message: str) -> None:
    """What there is to say was said when the model was loaded."""
