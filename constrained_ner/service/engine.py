"""What annotates documents for a service: the annotator of this process, shared by threads.

Threads that annotate at the same time share forward passes through the scheduler of the model. Each document
is a run of its own, so what it gets depends on nothing else in the house.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..annotation.about import About
from ..annotation.annotator import Annotator
from ..annotation.documents import settled
from ..annotation.result import Annotated
from ..annotation.xray import XRay
from ..data import Document, Sentence
from ..runs.stretches import annotate_all, stretches
from ..text.sentences import cut_document, known_names

_MOST_VARIANTS = 16
_HIDDEN_FAILURE = "the model's server did not answer this text"


class StoppedError(Exception):
    """Nobody wants the answer any more."""


class Stop:
    """Set by whoever asked for a document, looked at by the thread that annotates it."""

    def __init__(self) -> None:
        self.requested = False

    def check(self, *_: object) -> None:
        """Raise StoppedError if the answer is not wanted any more."""
        if self.requested:
            raise StoppedError


class Engine(Protocol):
    """n_at_once: documents that it works on at the same time, each in a thread of the caller.

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

    def annotate(self, document: Document, options: Mapping[str, Any], stop: Stop) -> Document:
        """The document, cut into sentences if it is not, with its mentions.

        options: fields of `Settings` that are `per_request`. Sentences that fail say why. Raises
        StoppedError soon after `stop` is set; UserError if the model cannot go on.
        """

    def xray(self, text: str, options: Mapping[str, Any], stop: Stop) -> XRay:
        """A sentence decision by decision. Raises SentenceError for one that is too long."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Variant:
    annotator: Annotator
    about: About


class ThisProcess:
    """An engine of one model in this process. Annotators with other options share it."""

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._lock = threading.Lock()
        self._variants: OrderedDict[str, _Variant] = OrderedDict()
        self.about = annotator.about()
        self.knows_confidence = annotator.knows_confidence
        self.n_at_once = 2 * annotator.backend.max_sequences  # one is prepared while another is in the model
        self.ready = True
        self._tells_failures = annotator.backend.shows_logits

    def annotate(self, document: Document, options: Mapping[str, Any], stop: Stop) -> Document:
        variant = self.variant(options)
        cut = cut_document(document, known_names())
        found = list[Annotated]()
        for annotated in annotate_all(variant.annotator, whole(cut), stop.check):
            stop.check()
            found.append(annotated)
        if not self._tells_failures:  # they name the server
            found = [replace(a, failure=a.failure and _HIDDEN_FAILURE) for a in found]
        return settled(cut, found, variant.about)

    def xray(self, text: str, options: Mapping[str, Any], stop: Stop) -> XRay:
        return self.variant(options).annotator.xray(text)

    def variant(self, options: Mapping[str, Any]) -> _Variant:
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
        self._annotator.close()


def whole(document: Document) -> Sequence[Any]:
    """A document as the stretches of a run of its own."""
    find: Callable[[str], None] = lambda _: None  # noqa: E731
    sentences: Sequence[Sentence] = document.sentences
    return list(stretches(sentences, find))


def _say_nothing(message: str) -> None:
    """What there is to say was said when the model was loaded."""
