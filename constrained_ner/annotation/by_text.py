"""Annotation by a model of which we see the text alone: a server's.

    sentence -> messages and grammar -> the server -> an answer -> checked against the automaton -> mentions

What passes is `constrained`, as if it had been decoded here. What does not, because the server did not heed
the grammar or because its dialect is looser, is aligned with the sentence and marked so. There is no
confidence: servers do not show the probabilities of what was legal.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from ..backends.protocol import TextAnswer, TextBackend, TextRequest
from ..constraint.automaton import Constraint, TagMachine
from ..constraint.edges import OPEN, Boundary
from ..constraint.grammars import are_pieces, join_pieces, render, split_pieces
from ..data import Sentence
from ..errors import ContextOverflowError, ModelError, SentenceError
from ..prompting.encoder import Message, Prompts
from ..text.windows import cut_near_middle
from .free_answer import read_answer
from .result import Annotated, Effort

_AS_PIECES = (
    "Write the answer as a JSON array of strings: the words of the sentence in order, each with the space "
    "before it. Joined, they are the sentence with its tags."
)
_QUOTES = {ord('"'): "\u201d", ord("\\"): "\uff3c"}
_CONTROLS = {code: " " if chr(code).isspace() else "\u2400" for code in (*range(32), 127)}
"""Stand-ins for what JSON has to escape: one character for one, of the same kind, so offsets and edges stay.

Converters of JSON schemas to grammars get backslashes wrong: llama.cpp's did, llama-cpp-python's does.
"""
_SHORTEST_WINDOW = 40  # characters; where not even this fits, the prompt is what is too long
_ENOUGH_FAILURES = 5


@dataclass(frozen=True, slots=True)
class _Question:
    """A sentence or a piece of one, under way.

    constraint: on the text as it was shown. answer: None where nothing needed to be asked.
    """

    text: str
    constraint: Constraint
    answer: Future[TextAnswer] | None


class TextAnnotation:
    """Sentences in, mentions out, many requests under way.

    constrained: send the grammar of each sentence along; otherwise the answers are free.
    notify: told once if the server does not heed the grammar.
    """

    def __init__(
        self,
        backend: TextBackend,
        prompts: Prompts,
        machine: TagMachine,
        *,
        boundary: Boundary = "word",
        constrained: bool = True,
        notify: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._backend = backend
        self._prompts = prompts
        self._machine = machine
        self._boundary: Boundary = boundary
        self._constrained = constrained
        self._in_pieces = constrained and backend.dialect == "json-schema"
        self._notify: Callable[[str], None] | None = notify  # None when it has been told

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
                        f"the first {_ENOUGH_FAILURES} sentences all failed, the last of them because: "
                        f"{annotated.failure}"
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
        shown = self._shown(text)
        constraint = Constraint(shown, self._machine, boundary=self._boundary, leading_space=leading_space)
        if not any(edge & OPEN for edge in constraint.edges):
            return _Question(text, constraint, None)
        request = TextRequest(
            messages=self._messages(shown),
            max_tokens=64 + 2 * constraint.n_bytes,  # a copy takes a quarter of that; the rest is for tags
            grammar=render(constraint, self._backend.dialect) if self._constrained else None,
        )
        return _Question(text, constraint, self._backend.submit(request))

    def _shown(self, text: str) -> str:
        return text.translate(_QUOTES | _CONTROLS) if self._in_pieces else text

    def _messages(self, text: str) -> tuple[tuple[str, str], ...]:
        first, *others = self._prompts.prepare_messages(text)
        opening = f"{first.content}\n{_AS_PIECES}" if self._in_pieces else first.content
        return ((first.role, opening), *((message.role, self._content(message)) for message in others))

    def _content(self, message: Message) -> str:
        """Examples are shown in the form that is asked for."""
        if not self._in_pieces:
            return message.content
        if message.sentence is None:
            return message.content.translate(_QUOTES)
        text = self._shown(message.sentence.text)
        constraint = Constraint(text, self._machine, boundary=self._boundary)
        kept, _ = self._machine.markup.expressible(message.sentence, self._boundary)
        return split_pieces(constraint, kept)

    # ---- reading

    def _read(self, question: _Question) -> Annotated:
        if question.answer is None:
            return Annotated(Sentence("", question.text), Effort(n_windows=1))
        cut = cut_near_middle(question.text) if len(question.text) >= 2 * _SHORTEST_WINDOW else None
        try:
            answer = question.answer.result()
        except ContextOverflowError:
            if cut is None:
                raise
            return self._read_halves(question.text, cut)
        if cut is not None and self._ran_out_of_room(question, answer):
            return self._read_halves(question.text, cut)
        pieces = join_pieces(answer.text) if self._in_pieces else None
        shown = question.constraint.text
        written = _with_edges_of(shown, answer.text if pieces is None else pieces).encode()
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
        if self._constrained and answer.finished and not self._heeds(question.constraint, written, answer):
            self._warn()
        mentions = [replace(m, text=question.text[m.start : m.end]) for m in annotated.sentence.mentions]
        return replace(annotated, sentence=Sentence("", question.text).with_mentions(mentions))

    def _read_halves(self, text: str, cut: int) -> Annotated:
        halves = [self._ask(text[:cut]), self._ask(text[cut:])]
        left, right = map(self._read, halves)
        return left.followed_by(right)

    def _ran_out_of_room(self, question: _Question, answer: TextAnswer) -> bool:
        """Whether the answer is right as far as it goes: `max_tokens` is enough, so the context was not."""
        if answer.finished or not self._constrained or self._in_pieces:
            return False
        return bool(question.constraint.advance(question.constraint.start, answer.text.encode()))

    def _heeds(self, constraint: Constraint, written: bytes, answer: TextAnswer) -> bool:
        """Whether the answer could have come about under the grammar."""
        if self._in_pieces:
            return are_pieces(constraint, answer.text)
        return constraint.read(written) is not None

    def _warn(self) -> None:
        if self._notify is not None:
            self._notify(
                f"{self._backend.grammar_field} did not heed the constraint: what it writes is aligned with "
                "the sentences instead, and marked where the offsets are not exact; "
                f"{self._backend.grammar_advice}"
            )
            self._notify = None


def _with_edges_of(text: str, written: str) -> str:
    """What was written, with the white space that the text begins and ends with.

    Servers may strip it; no name has any there, so it is the text's to say.
    """
    before, after = len(text) - len(text.lstrip()), len(text.rstrip())
    return text[:before] + written.strip() + text[after:]
