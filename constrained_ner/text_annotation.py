"""Annotation by a model of which we see the text alone: a server's.

    sentence -> messages and grammar -> the server -> an answer -> checked against the automaton -> mentions

What passes is `constrained`, as if it had been decoded here. What does not, because the server did not heed
the grammar or because its dialect is looser, is aligned with the sentence and marked so. There is no
confidence: servers do not show the probabilities of what was legal.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from .answers import read_answer
from .backends.text import PromptTooLongError, TextAnswer, TextBackend, TextRequest
from .constraint import Constraint, TagMachine
from .data import Sentence
from .edges import OPEN, Boundary
from .errors import ModelError, SentenceError
from .grammar import join_pieces, render, split_pieces
from .prompts import Message, Prompts
from .results import Annotated, Effort
from .windows import cut_near_middle

_LOG = logging.getLogger(__name__)

_AS_PIECES = (
    "Write the answer as a JSON array of strings: the words of the sentence in order, each with the space "
    "before it. Joined, they are the sentence with its tags."
)
_SHORTEST_WINDOW = 40  # characters; where not even this fits, the prompt is what is too long
_ENOUGH_FAILURES = 5


@dataclass(frozen=True, slots=True)
class _Question:
    """A sentence or a piece of one, under way."""

    constraint: Constraint
    answer: Future[TextAnswer] | None  # None where nothing needs to be asked

    @property
    def text(self) -> str:
        return self.constraint.text


class TextAnnotation:
    """Sentences in, mentions out, many requests under way.

    constrained: send the grammar of each sentence along; otherwise the answers are free.
    """

    def __init__(
        self,
        backend: TextBackend,
        prompts: Prompts,
        machine: TagMachine,
        *,
        boundary: Boundary = "word",
        constrained: bool = True,
    ) -> None:
        self._backend = backend
        self._prompts = prompts
        self._machine = machine
        self._boundary: Boundary = boundary
        self._constrained = constrained
        self._in_pieces = constrained and backend.dialect == "json-schema"
        self._has_warned = False

    def run(self, sentences: Iterable[Sentence]) -> Iterator[Annotated]:
        """Annotate sentences, in order; failures are reported, not raised.

        Raises ModelError where the server is gone, or where the first five sentences all fail: then it is not
        the sentences, and none of them is reported.
        """
        first_failures: list[Annotated] | None = []  # None after the first success
        for annotated in self._run(sentences):
            if first_failures is None:
                yield annotated
            elif annotated.failure is None:
                yield from first_failures
                first_failures = None
                yield annotated
            else:
                first_failures.append(annotated)
                if len(first_failures) == _ENOUGH_FAILURES:
                    raise ModelError(
                        f"the first {_ENOUGH_FAILURES} sentences all failed, the last one so: {annotated.failure}"
                    )
        yield from first_failures or ()

    def _run(self, sentences: Iterable[Sentence]) -> Iterator[Annotated]:
        """With more asked than the server takes at once, so that a slow answer holds up nobody."""
        under_way: deque[tuple[Sentence, _Question | SentenceError]] = deque()
        try:
            for sentence in sentences:
                under_way.append((sentence, self._try_to_ask(sentence.text)))
                if len(under_way) == 2 * self._backend.max_sequences:
                    yield self._annotated(*under_way.popleft())
            while under_way:
                yield self._annotated(*under_way.popleft())
        finally:
            for _, question in under_way:
                if isinstance(question, _Question) and question.answer is not None:
                    question.answer.cancel()

    def _annotated(self, sentence: Sentence, question: _Question | SentenceError) -> Annotated:
        try:
            if isinstance(question, SentenceError):
                raise question
            annotated = self._read(question)
        except SentenceError as error:
            return Annotated(sentence.with_mentions(()), failure=str(error))
        return replace(annotated, sentence=sentence.with_mentions(annotated.sentence.mentions))

    # ---- asking

    def _try_to_ask(self, text: str) -> _Question | SentenceError:
        try:
            return self._ask(text)
        except SentenceError as error:
            return error

    def _ask(self, text: str) -> _Question:
        # Whether the server's tokenizer begins a text with a space of its own is not known: one is allowed.
        leading_space = self._constrained and not self._in_pieces
        constraint = Constraint(text, self._machine, boundary=self._boundary, leading_space=leading_space)
        if not any(edge & OPEN for edge in constraint.edges):
            return _Question(constraint, None)
        request = TextRequest(
            messages=self._messages(text),
            max_tokens=64 + 2 * constraint.n_bytes,  # a copy takes a quarter of that; the rest is for tags
            grammar=render(constraint, self._backend.dialect) if self._constrained else None,
        )
        return _Question(constraint, self._backend.submit(request))

    def _messages(self, text: str) -> tuple[tuple[str, str], ...]:
        first, *others = self._prompts.prepare_messages(text)
        opening = f"{first.content}\n{_AS_PIECES}" if self._in_pieces else first.content
        return ((first.role, opening), *((message.role, self._content(message)) for message in others))

    def _content(self, message: Message) -> str:
        """An example's answer is shown in the form that is asked for."""
        if message.sentence is None or not self._in_pieces:
            return message.content
        constraint = Constraint(message.sentence.text, self._machine, boundary=self._boundary)
        kept, _ = self._machine.markup.expressible(message.sentence, self._boundary)
        return split_pieces(constraint, kept)

    # ---- reading

    def _read(self, question: _Question) -> Annotated:
        if question.answer is None:
            return Annotated(Sentence("", question.text), Effort(n_windows=1))
        try:
            answer = question.answer.result()
        except PromptTooLongError:
            cut = cut_near_middle(question.text) if len(question.text) >= 2 * _SHORTEST_WINDOW else None
            if cut is None:
                raise
            halves = [self._ask(question.text[:cut]), self._ask(question.text[cut:])]
            left, right = map(self._read, halves)
            return left.followed_by(right)
        pieces = join_pieces(answer.text) if self._in_pieces else None
        written = _with_edges_of(question.text, answer.text if pieces is None else pieces).encode()
        annotated = read_answer(
            question.constraint,
            written,
            Effort(
                n_passes=answer.n_tokens,  # as far as can be told: one for each token it wrote
                n_tokens=answer.n_prompt_tokens + answer.n_tokens,
                n_unfinished=int(not answer.finished),
                n_windows=1,
                n_prompt_tokens=answer.n_prompt_tokens,
            ),
            finished=answer.finished,
            provenance="constrained" if self._constrained else "exact",
        )
        legal = question.constraint.read(written) is not None
        loose = pieces is not None and annotated.verbatim  # all that the JSON schema asks for
        if self._constrained and answer.finished and not legal and not loose:
            self._warn()
        return annotated

    def _warn(self) -> None:
        """Once: the answer could not have come about under the grammar."""
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "%s did not heed the constraint: what it writes is aligned with the sentences instead, and "
                "marked where the offsets are not exact; %s",
                self._backend.grammar_field,
                self._backend.grammar_advice,
            )


def _with_edges_of(text: str, written: str) -> str:
    """What was written, with the white space that the text begins and ends with.

    Servers may strip it; no name has any there, so it is the text's to say.
    """
    before, after = len(text) - len(text.lstrip()), len(text.rstrip())
    return text[:before] + written.strip() + text[after:]
