"""A model's likeliest answer in a form, token by token, with or without a grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...backends.protocol import LogitsBackend, Step
from ...data import Sentence
from ...decoding.engines import Matcher, Spellings, load_engine
from ...prompting.encoder import PromptEncoder
from ...prompting.messages import Prompts
from ...prompting.records import Conversation
from ...text.view import view_of
from ...vocabulary import Vocabulary
from .form import PeerForm, Reading

_NO_BLANKS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""For llguidance: JSON as `json.dumps` writes it, so that no answer is an endless row of blanks."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A sentence with what the model's answer says of it.

    answer: as it was written. n_passes, n_tokens: forward passes, and the tokens that they evaluated,
    without the prefix that all sentences share.
    """

    sentence: Sentence
    reading: Reading
    answer: str
    n_passes: int
    n_tokens: int


class Asked:
    """A model that is asked in one form. It answers one sentence at a time.

    constrained: under the form's grammar, by llguidance. Raises MissingExtraError without it, and ValueError
    for a form that has no grammar.
    """

    def __init__(
        self,
        backend: LogitsBackend,
        form: PeerForm,
        examples: Sequence[Sentence],
        *,
        constrained: bool = False,
    ) -> None:
        vocabulary = backend.vocabulary
        conversation = Conversation.of("list", backend.chat_template, vocabulary)
        self._backend = backend
        self._form = form
        self._blank = " " if conversation.leading_space else ""
        self._end_ids = vocabulary.stop_ids | conversation.end_ids
        prompts = Prompts(form.prompt, form.markup, examples, form=form)
        self._encoder = PromptEncoder(prompts, vocabulary, conversation.template, self._answer_ids)
        self._engine = None
        if constrained:
            if form.grammar("") is None:
                raise ValueError("the form has no grammar")
            self._engine = load_engine("llguidance", backend, Spellings(_Plain(vocabulary)))
        backend.prefill(self._encoder.prefix_ids)

    def answers(self, sentences: Sequence[Sentence]) -> Iterator[Answered]:
        """The sentences with what was found, in order."""
        for sentence in sentences:
            view = view_of(sentence.text)
            prompt_ids = self._encoder.ids(view.text)
            n_most = 64 + 3 * len(self._backend.vocabulary.encode(view.text))
            written = list(self._written(prompt_ids, n_most, self._matcher(view.text)))
            ids = [token_id for token_id in written if token_id not in self._end_ids]
            answer = self._backend.vocabulary.decode(ids).decode(errors="replace").strip()
            reading = self._form.read(view.text, answer)
            found = view.original_sentence(reading.sentence(view.text))
            yield Answered(
                replace(found, id=sentence.id),
                reading,
                answer,
                n_passes=len(written),
                n_tokens=len(prompt_ids) + len(written) - 1,
            )

    def _answer_ids(self, example: Sentence) -> list[int]:
        kept, _ = self._form.markup.expressible(example)
        return self._backend.vocabulary.encode(self._blank + self._form.write(example.text, kept))

    def _matcher(self, text: str) -> Matcher | None:
        grammar = self._form.grammar(text) if self._engine is not None else None
        if self._engine is None or grammar is None:
            return None
        schema = json.dumps({**json.loads(grammar), "x-guidance": _NO_BLANKS})
        blank = f"{json.dumps(self._blank)} " if self._blank else ""
        return self._engine.start(f"start: {blank}array\narray: %json {schema}\n")

    def _written(self, prompt_ids: Sequence[int], n_most: int, matcher: Matcher | None) -> Iterator[int]:
        """The ids of the answer, the one that ends it included."""
        pending, n_cached = list(prompt_ids), 0
        for _ in range(n_most):
            legal = [] if matcher is None else list(matcher.legal_ids())
            watch = [None] * (len(pending) - 1) + [legal]
            step = Step(0, n_cached, pending, watch, summary=matcher is None)
            ((*_, scores),) = self._backend.forward([step])
            assert scores is not None, "the last position is watched"
            chosen = scores.best if matcher is None else legal[int(np.argmax(scores.logits))]
            assert chosen is not None, "the summary was asked for"
            yield chosen
            if chosen in self._end_ids:
                return
            if matcher is not None:
                matcher.accept(chosen)
            n_cached += len(pending)
            pending = [chosen]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A vocabulary whose control tokens are in no answer."""

    vocabulary: Vocabulary
    controls: Mapping[int, bytes] = field(default_factory=dict)
