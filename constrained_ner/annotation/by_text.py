"""Annotation by a model on a server, of which we see the text only.

    window -> messages and grammar -> the server -> an answer -> checked against the automaton -> mentions

An answer that passes the check is `constrained`, as if it had been decoded here. One that fails, because the
server ignored the grammar or its dialect is looser, is aligned with the sentence and marked so. Mentions have
confidence where the server reports enough of the probabilities (see `reported`), and the bias of opening a
type is sent along if the server says how it tokenizes (see `server_bias`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from ..backends.protocol import TextAnswer, TextBackend, TextRequest
from ..constraint.answer_form import AnswerForm, AnswerName
from ..constraint.edges import OPEN
from ..constraint.grammars import is_json_answer, read_json, render, write_json
from ..constraint.legal import TokenRule
from ..constraint.sentence_automaton import SentenceAutomaton
from ..data import Mention, Sentence
from ..errors import ContextOverflowError, ModelError, SentenceError, UserError
from ..prompting.budget import shortened_types
from ..prompting.messages import Message, Prompts
from ..text.windows import windows
from .free_answer import read_answer, unwrapped
from .reported import N_LIKELIEST, with_confidence
from .result import Annotated, Effort
from .server_bias import bias_by_token
from .settings import Settings

_AS_JSON: dict[AnswerName, str] = {
    "tags": (
        "Write the answer as a JSON array of strings: the words of the sentence in order, each with the "
        "space before it. Joined, they are the sentence with its tags."
    ),
    "list": (
        'Write the list as a JSON array of objects, each with "name" and "type"; an empty one if there is no '
        "name."
    ),
}
_QUOTES = {ord('"'): "\u201d", ord("\\"): "\uff3c"}
_CONTROLS = {code: " " if chr(code).isspace() else "\u2400" for code in (*range(32), 127)}
"""Stand-ins for what JSON has to escape: one character for one, of the same kind, so offsets and edges stay.

Converters of JSON schemas to grammars get backslashes wrong: llama.cpp's did, llama-cpp-python's does.
"""
_USUAL_CONTEXT = 32768  # tokens, of a server that does not say
_BYTES_A_TOKEN = 4
_SPARE_TOKENS = 64  # for thoughts and fences around an answer that no grammar keeps from them
_LEAST_LIKENESS = 50  # in percent; a refusal ("I cannot help with that.") is far below


class ByText:
    """A transport (see `pipeline`) over a text back end.

    notify: called once if the server ignores the grammar.
    """

    shortest_window = 40  # characters; if not even this fits, the prompt is too long
    n_failures_to_stop = 5
    asks_untuned = True  # a server does not say what its model was tuned for

    def __init__(
        self,
        backend: TextBackend,
        prompts: Prompts,
        form: AnswerForm,
        settings: Settings,
        notify: Callable[[str], None],
    ) -> None:
        _check(settings)
        self.decoder = "server" if settings.constrained else "unconstrained"
        self.rule: TokenRule = "any"
        self.examples = prompts.examples
        self.n_at_once = backend.max_sequences
        self.constrained = settings.constrained
        self.in_json = self.constrained and backend.dialect == "json-schema"
        self._backend = backend
        # In JSON the tokens are not those of the answer as it is read.
        self.reports = self.constrained and backend.reports_tokens and not self.in_json
        self._bias = bias_by_token(settings.bias, form, backend.tokenize) if settings.bias else {}
        self._leading_space = self.constrained and not self.in_json and _may_begin_with_a_space(backend)
        self._context_length = backend.context_length or _USUAL_CONTEXT
        self._prompts = shortened_types(prompts, _n_tokens, self._context_length, notify)
        self._form = form
        self._boundary = settings.boundary
        self._notify: Callable[[str], None] | None = notify  # None once it was called

    def windows(self, text: str) -> Iterator[str]:
        # Rough on purpose: only what cannot fit is cut beforehand. The server says what else does not.
        most = self._context_length
        return windows(text, _n_tokens, most=most, size=most // 4, boundary=self._boundary)

    def submit(self, window: str, sentence: str, expected: Sequence[Mention]) -> _AskedWindow:
        shown = self._shown(window)
        constraint = self._form.constraint(shown, boundary=self._boundary, leading_space=self._leading_space)
        if not any(edge & OPEN for edge in constraint.edges):
            return _AskedWindow(self, window, constraint, None)
        request = TextRequest(
            messages=self._messages(shown),
            max_tokens=_most_tokens(constraint, self._form),
            grammar=render(constraint, self._backend.dialect) if self.constrained else None,
            bias=self._bias,
            n_likeliest=N_LIKELIEST if self.reports else 0,
        )
        return _AskedWindow(self, window, constraint, self._backend.submit(request))

    def close(self) -> None:
        self._backend.close()

    def read(self, window: str, constraint: SentenceAutomaton, answer: TextAnswer) -> Annotated:
        """The mentions of an answer. Raises ContextOverflowError if the answer ran out of room."""
        if len(window) >= 2 * self.shortest_window and self._ran_out_of_room(constraint, answer):
            raise ContextOverflowError("the server's context is too short for the answer")
        answer, written = self._unpacked(constraint, answer)
        annotated = read_answer(
            constraint,
            written,
            Effort(
                n_passes=answer.n_tokens,  # as far as we can tell: one for each token of the answer
                n_tokens=answer.n_prompt_tokens + answer.n_tokens,
                n_unfinished=int(not answer.finished),
                n_windows=1,
                n_prompt_tokens=answer.n_prompt_tokens,
            ),
            finished=answer.finished,
            provenance="constrained" if self.constrained else "exact",
        )
        if self.constrained and answer.finished and not self._obeys(constraint, written, answer):
            self._warn()
        if not annotated.verbatim and not annotated.sentence.mentions and answer.finished:
            _require_copy(constraint.text, written.decode(errors="replace"))
        found: Sequence[Mention] = annotated.sentence.mentions
        if answer.tokens and self.reports:
            found = with_confidence(found, constraint, answer.tokens)
        mentions = [replace(m, text=window[m.start : m.end]) for m in found]
        return replace(annotated, sentence=Sentence("", window).with_mentions(mentions))

    # ---- asking

    def _shown(self, text: str) -> str:
        return text.translate(_QUOTES | _CONTROLS) if self.in_json else text

    def _messages(self, text: str) -> tuple[tuple[str, str], ...]:
        first, *others = self._prompts.prepare_messages(text)
        opening = f"{first.content}\n{_AS_JSON[self._form.name]}" if self.in_json else first.content
        return ((first.role, opening), *((message.role, self._content(message)) for message in others))

    def _content(self, message: Message) -> str:
        """Examples are shown in the form that is asked for."""
        if not self.in_json:
            return message.content
        if message.sentence is None:
            return message.content.translate(_QUOTES)
        text = self._shown(message.sentence.text)
        constraint = self._form.constraint(text, boundary=self._boundary)
        kept, _ = self._form.markup.expressible(message.sentence, self._boundary)
        return write_json(constraint, kept, self._boundary)

    # ---- reading

    def _unpacked(self, constraint: SentenceAutomaton, answer: TextAnswer) -> tuple[TextAnswer, bytes]:
        """The answer without thoughts before it and a code fence around it, if it is not legal as it is."""
        for text in (answer.text, unwrapped(answer.text)):
            read = read_json(constraint, text) if self.in_json else None
            bare = text if read is None else read
            if self._form.name == "tags":
                bare = _with_edges_of(constraint.text, bare)
            written = bare.strip().encode() if self._form.name == "list" else bare.encode()
            if read is not None or constraint.read(written) is not None:
                break
        return replace(answer, text=text), written

    def _ran_out_of_room(self, constraint: SentenceAutomaton, answer: TextAnswer) -> bool:
        """Whether the answer is right as far as it goes: `max_tokens` is enough, so the context was not."""
        if answer.finished or not self.constrained or self.in_json:
            return False
        return bool(constraint.advance(constraint.start, answer.text.encode()))

    def _obeys(self, constraint: SentenceAutomaton, written: bytes, answer: TextAnswer) -> bool:
        """Whether the answer could have come about under the grammar."""
        if self.in_json:
            return is_json_answer(constraint, answer.text)
        return constraint.read(written) is not None

    def _warn(self) -> None:
        if self._notify is not None:
            self._notify(
                f"{self._backend.grammar_field} ignores the constraint: its answers are aligned with the "
                "sentences instead, and marked if their offsets are not exact; "
                f"{self._backend.grammar_advice}"
            )
            self._notify = None


@dataclass(frozen=True)
class _AskedWindow:
    """A window that the server was asked about. answer: None if there was nothing to ask."""

    transport: ByText
    window: str
    constraint: SentenceAutomaton
    answer: Future[TextAnswer] | None

    def result(self) -> Annotated:
        if self.answer is None:
            return Annotated(Sentence("", self.window), Effort(n_windows=1))
        return self.transport.read(self.window, self.constraint, self.answer.result())

    def cancel(self) -> None:
        if self.answer is not None:
            self.answer.cancel()


def _check(settings: Settings) -> None:
    """Refuse what a server cannot do."""
    if settings.engine != "native":
        raise UserError(f"--engine {settings.engine} needs a local model; a server has its own engine")
    if settings.max_prompt_tokens is not None:
        raise UserError("--max-prompt-tokens needs a local model: a server's tokens cannot be counted here")


def _require_copy(text: str, written: str) -> None:
    """Raise SentenceError for an answer that is no copy of the text, so that nothing in it can be trusted."""
    from rapidfuzz.fuzz import ratio

    if ratio(text, written) < _LEAST_LIKENESS:
        raise SentenceError(f"the server's answer is not the sentence: {' '.join(written.split())!r:.80}")


def _may_begin_with_a_space(backend: TextBackend) -> bool:
    """Whether the server's tokenizer begins a text with a space of its own, as far as it says."""
    try:
        return backend.tokenize("x")[0][1][:1] == b" "
    except (ModelError, IndexError):
        return True


def _most_tokens(constraint: SentenceAutomaton, form: AnswerForm) -> int:
    """Room for any answer, even one that marks every word.

    The text takes a token for each byte at most; what marks a name, one for every two bytes as a rule.
    """
    types = form.markup.types
    marks = max(len(form.markup.open_tag(name) + form.markup.close_tag(name)) for name in types)
    n_words = sum(bool(edge & OPEN) for edge in constraint.edges)
    return _SPARE_TOKENS + constraint.n_bytes + max(constraint.n_bytes, n_words * (marks // 2))


def _n_tokens(text: str) -> int:
    return len(text.encode(errors="replace")) // _BYTES_A_TOKEN


def _with_edges_of(text: str, written: str) -> str:
    """What was written, with the white space that the text begins and ends with.

    Servers may strip it. No name has any there, so it is always the text's.
    """
    before, after = len(text) - len(text.lstrip()), len(text.rstrip())
    return text[:before] + written.strip() + text[after:]
