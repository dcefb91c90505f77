"""From sentences to annotated sentences, in order: windows, turns, failures. Written once for all transports.

sentence -> its view -> windows that fit the context -> a transport answers each -> mentions on the view
-> mentions on the sentence

The view (see `text.view`) is made and left here alone: transports and drafts know no other text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..constraint.edges import Boundary
from ..constraint.legal import TokenRule
from ..data import Mention, Sentence
from ..errors import ContextOverflowError, ModelError, SentenceError
from ..prompting.messages import Chooser
from ..text.view import View, ViewName, shown_sentence, view_of
from ..text.windows import cut_near_middle
from .lexicon import Lexicon
from .result import Annotated, join

BLOCK = 32
"""Sentences after which drafts forget the names of this run and expect the first ones again.

What a draft expects decides how probabilities are rounded. Blocks that know nothing of each other get the
same bytes from any number of processes, in any order.
"""

OnWindow = Callable[[str, int, int], None]
"""Called after each window of a sentence that has several: with its id, characters done, all characters."""


class Pending(Protocol):
    """A window that was handed to a transport."""

    def result(self) -> Annotated:
        """The window with its mentions. Raises SentenceError; ContextOverflowError if it has to be cut."""

    def cancel(self) -> None:
        """Give up: nobody will ask for the result."""


class Transport(Protocol):
    """How a window gets its answer: through a model's logits, or as text from a server.

    decoder, rule, examples: what it uses, for the record of a run.
    n_at_once: windows that are answered at the same time; twice as many are handed in.
    shortest_window: characters of a window below which cutting it does not help.
    asks_untuned: whether the model knows what is asked from the prompt alone, as far as can be told.
    n_failures_to_stop: if this many sentences fail at the start, it is not the sentences; None for never.
    """

    @property
    def decoder(self) -> str: ...

    @property
    def rule(self) -> TokenRule: ...

    @property
    def examples(self) -> Sequence[Sentence] | Chooser: ...

    @property
    def n_at_once(self) -> int: ...

    @property
    def shortest_window(self) -> int: ...

    @property
    def asks_untuned(self) -> bool: ...

    @property
    def n_failures_to_stop(self) -> int | None: ...

    def windows(self, text: str) -> Iterator[str]:
        """The text in pieces that should fit the context with their answers. Raises SentenceError."""

    def submit(self, window: str, sentence: str, expected: Sequence[Mention]) -> Pending:
        """Ask for a window. Raises SentenceError.

        sentence: the text that the window shows a part of, as it is; examples are chosen by it. expected:
        disjoint mentions that the window may well have, for drafts.
        """

    def close(self) -> None:
        """Close the back end, after what is running in it."""


@dataclass
class _Turn:
    """A sentence under way. windows: those of its view that are done, in order."""

    number: int
    sentence: Sentence
    view: View
    windows: list[Annotated] = field(default_factory=list)
    n_characters: int = 0
    failure: str | None = None

    def add(self, window: Annotated) -> None:
        self.windows.append(window)
        self.n_characters += len(window.sentence.text)

    def result(self, boundary: Boundary) -> Annotated:
        if self.failure is not None:
            return Annotated(self.sentence.with_mentions(()), failure=self.failure)
        annotated = join(replace(self.sentence, text=self.view.text), self.windows, boundary)
        return replace(annotated, sentence=self.view.original_sentence(annotated.sentence))


@dataclass
class _Asked:
    """A window of a sentence, and its answer to come; None marks the end of the sentence."""

    turn: _Turn
    window: str
    pending: Pending | None


@dataclass(frozen=True)
class Pipeline:
    """Runs sentences through a transport.

    names: what drafts expect at first; asked for when a run begins.
    expressible: the mentions of a sentence that tags can express.
    view: what is shown of a sentence.
    """

    transport: Transport
    names: Callable[[], Lexicon]
    expressible: Callable[[Sentence], Sequence[Mention]]
    boundary: Boundary
    view: ViewName = "plain"

    def run(
        self,
        sentences: Iterable[Sentence],
        keep: Callable[[Annotated], Annotated],
        *,
        finished: Sequence[Sentence | None] = (),
        proven: bool = False,
        learns: bool = True,
        on_window: OnWindow | None = None,
    ) -> Iterator[Annotated]:
        """Annotate sentences, in order. Failures are reported, not raised.

        keep: leaves out the mentions that are not wanted. finished: sentences of the same run that were done
        before it was interrupted, None for those that failed. proven: the model has answered before, so
        failures are those of sentences. learns: expect the names that are found.
        Raises ModelError if the first sentences all fail and the transport takes this for the model's fault.
        """
        results = _Run(self, keep, finished, learns, on_window).annotate(sentences)
        n_to_stop = self.transport.n_failures_to_stop
        proven = proven or any(sentence is not None for sentence in finished)
        return results if n_to_stop is None or proven else _stop_if_all_fail(results, n_to_stop)


class _Run:
    """One call of `Pipeline.run`, which shares nothing with others but the model.

    Names found in a sentence are expected a fixed number of sentences later, until the block ends, however
    the answers come in. So a sentence's drafts, and the rounding of its probabilities, depend neither on who
    else uses the model, nor on an interruption, nor on what other blocks hold.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        keep: Callable[[Annotated], Annotated],
        finished: Sequence[Sentence | None],
        learns: bool,
        on_window: OnWindow | None,
    ) -> None:
        self._pipeline = pipeline
        self._transport = pipeline.transport
        self._keep = keep
        self._learns = learns
        self._on_window = on_window
        self._n_at_once = 2 * self._transport.n_at_once  # so that a slow answer holds up nobody
        self._names = pipeline.names().branch()
        self._n_finished = len(finished)
        self._to_learn = deque((n, sentence) for n, sentence in enumerate(finished) if sentence is not None)

    def annotate(self, sentences: Iterable[Sentence]) -> Iterator[Annotated]:
        under_way: deque[_Asked] = deque()
        n_pending = 0
        try:
            for asked in self._ask_all(sentences):
                under_way.append(asked)
                n_pending += asked.pending is not None
                while under_way and (n_pending == self._n_at_once or self._is_due(under_way[0], asked)):
                    first = under_way.popleft()
                    n_pending -= first.pending is not None
                    yield from self._take(first)
            while under_way:
                yield from self._take(under_way.popleft())
        finally:
            for asked in under_way:
                if asked.pending is not None:
                    asked.pending.cancel()

    def _is_due(self, first: _Asked, last: _Asked) -> bool:
        """Whether the first must be taken now: it is done, or the sentence after the last learns from it."""
        follows = last.pending is None and first.turn.number <= last.turn.number + 1 - self._n_at_once
        return first.pending is None or follows

    def _ask_all(self, sentences: Iterable[Sentence]) -> Iterator[_Asked]:
        for number, sentence in enumerate(sentences, start=self._n_finished):
            self._learn_before(number)
            turn = _Turn(number, sentence, View.of(""))
            try:
                _require_text(sentence.text)
                turn.view = view_of(sentence.text, self._pipeline.view)
                for window in self._transport.windows(turn.view.text):
                    if turn.failure is None:
                        yield _Asked(turn, window, self._submit(window, sentence.text))
            except SentenceError as error:
                turn.failure = turn.failure or str(error)
            yield _Asked(turn, "", None)

    def _learn_before(self, number: int) -> None:
        """Expect, in the sentence of this number, the names of earlier ones of its block."""
        if number % BLOCK == 0:
            self._names = self._pipeline.names().branch()
        while self._to_learn and self._to_learn[0][0] <= number - self._n_at_once:
            n, sentence = self._to_learn.popleft()
            if n // BLOCK == number // BLOCK:
                self._names.learn(shown_sentence(sentence, self._pipeline.view))

    def _submit(self, window: str, sentence: str) -> Pending:
        found = Sentence("", window, tuple(self._names.tag(window)))
        return self._transport.submit(window, sentence, self._pipeline.expressible(found))

    def _take(self, asked: _Asked) -> Iterator[Annotated]:
        """Wait for a window; after the last one of a sentence, yield the sentence."""
        turn = asked.turn
        if asked.pending is None:
            annotated = self._keep(turn.result(self._pipeline.boundary))
            if self._learns and annotated.failure is None:
                self._to_learn.append((turn.number, annotated.sentence))
            yield annotated
        elif turn.failure is not None:
            asked.pending.cancel()
        else:
            try:
                turn.add(self._solve(asked.window, asked.pending, turn.sentence.text))
            except SentenceError as error:
                turn.failure = str(error)
            self._tell(turn)

    def _solve(self, window: str, pending: Pending, sentence: str) -> Annotated:
        """The answer to a window; if it does not fit the context after all, those to its halves."""
        try:
            return pending.result()
        except ContextOverflowError:
            cut = cut_near_middle(window, self._pipeline.boundary)
            if cut is None or len(window) < 2 * self._transport.shortest_window:
                raise
        finally:
            pending.cancel()  # if this was interrupted
        halves = [
            self._solve(half, self._submit(half, sentence), sentence) for half in (window[:cut], window[cut:])
        ]
        return join(Sentence("", window), halves, self._pipeline.boundary)

    def _tell(self, turn: _Turn) -> None:
        n_characters = len(turn.view.text)
        if self._on_window is not None and turn.n_characters < n_characters:
            self._on_window(turn.sentence.id, turn.n_characters, n_characters)


def _require_text(text: object) -> None:
    """Raise SentenceError for what is no Unicode text, as callers of the library may pass it."""
    if not isinstance(text, str):
        raise SentenceError(f"not a text (str) but {type(text).__name__}: {text!r:.40}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SentenceError(f"character {error.start} is a lone surrogate: not Unicode text") from None


def _stop_if_all_fail(results: Iterator[Annotated], n_to_stop: int) -> Iterator[Annotated]:
    """The results, or ModelError if the first ones are all failures; none of these is yielded then."""
    first_failures: list[Annotated] = []
    for annotated in results:
        if annotated.failure is None:
            yield from first_failures
            yield annotated
            break
        first_failures.append(annotated)
        if len(first_failures) == n_to_stop:
            raise ModelError(
                f"the first {n_to_stop} sentences all failed, the last one because: {annotated.failure}"
            )
    else:
        yield from first_failures
    yield from results
