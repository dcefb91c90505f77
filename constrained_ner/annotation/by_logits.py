"""Annotation by a model whose logits we see: decoded here, under the constraint or freely.

window -> constraint, prompt, decoder -> the scheduler's forward passes -> an answer -> mentions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..backends.protocol import LogitsBackend
from ..constraint.automaton import Constraint, TaggedSpan, TagMachine
from ..constraint.bias import TypeBias
from ..constraint.edges import Boundary
from ..constraint.legal import LegalTokens, TokenRule
from ..constraint.tag_tokens import TagTokens
from ..data import Mention, Sentence
from ..decoding.answer import Answer, Decoder
from ..decoding.confidence import confidence
from ..decoding.copy_draft import copy_draft
from ..decoding.engines import GrammarEngine
from ..decoding.scheduler import Ticket, scheduler_of
from ..decoding.stepwise import stepwise
from ..decoding.unconstrained import unconstrained
from ..errors import SchemaError
from ..prompting.budget import FittedPrompt
from ..prompting.messages import Prompts
from ..text.windows import windows
from ..vocabulary import Vocabulary
from .decisions import decisions_by_span
from .free_answer import read_answer
from .result import Annotated, Effort
from .settings import Settings

_WINDOW = 128
"""Tokens of a window of a text that is too long: as many as a long sentence has.

Longer ones would be unlike what models are tuned on, and slower: each tag has the rest of the window drafted
again.
"""

_FEW_BYTES = 64
"""A vocabulary that lacks no more bytes than this has byte tokens, as a rule."""

_DECODERS = {"copy-draft": copy_draft, "stepwise": stepwise, "unconstrained": unconstrained}


class ByLogits:
    """A transport (see `pipeline`) over a back end whose logits we see.

    Raises ModelError if prompt and examples leave no room in the model's context.
    """

    shortest_window = 1
    n_failures_to_stop = None

    def __init__(
        self,
        backend: LogitsBackend,
        prompts: Prompts,
        machine: TagMachine,
        settings: Settings,
        notify: Callable[[str], None],
    ) -> None:
        self.n_at_once = backend.max_sequences
        self.decoder, self.rule = _decoder_and_rule(settings)
        self._machine = machine
        self._boundary = settings.boundary
        self._vocabulary = backend.vocabulary
        _warn_of_missing_bytes(backend.vocabulary, notify)
        self._temperature = 1.0 if backend.temperature is None else backend.temperature
        self._tag_tokens = TagTokens(machine, backend.vocabulary)
        self._horizon = backend.draft_horizon
        self._legal_mass = settings.legal_mass
        self._bias = TypeBias(settings.bias, machine, backend.vocabulary) if settings.bias else None
        self._engine = None
        if settings.engine != "native":
            self._engine = GrammarEngine(settings.engine, backend, self._tag_tokens)
        self._prompt = FittedPrompt(
            prompts,
            backend.vocabulary,
            backend.chat_template,
            partial(_answer_ids, self._tag_tokens, self._boundary, self.rule),
            context_length=backend.context_length,
            max_tokens=settings.max_prompt_tokens,
            notify=notify,
        )
        trained_for_it = backend.adapter_card is not None or settings.adapter or settings.lora
        if not (self._prompt.shows_instructions or trained_for_it or settings.force):
            _require_known_types(self._tag_tokens)
        self.examples = prompts.examples if self._prompt.examples is None else self._prompt.examples
        self._scheduler = scheduler_of(backend)
        self._scheduler.prefill(self._prompt.prefix_ids)

    def windows(self, text: str) -> Iterator[str]:
        # A sentence is there twice: in the question, and in the answer, which tags make longer.
        room = self._prompt.room_for_text
        most = max(1, room // 2)
        size = max(1, min(room // 3, _WINDOW))
        if len(text) <= most // 4:  # no token is shorter than a byte, no character longer than four
            return iter([text])
        return windows(text, self._n_tokens, most=most, size=size, boundary=self._boundary)

    def submit(self, window: str, sentence: str, expected: Sequence[Mention]) -> _DecodedWindow:
        constraint = self._constraint(window)
        prompt_ids = self._prompt.ids(window, sentence)
        decoder = self._decode(constraint, prompt_ids, expected)
        ticket = self._scheduler.submit(decoder, self._prompt.prefix_ids)
        return _DecodedWindow(self, constraint, ticket, len(self._prompt.prefix_ids) + len(prompt_ids))

    def close(self) -> None:
        self._scheduler.close()

    def read(self, constraint: Constraint, answer: Answer, n_prompt_tokens: int) -> Annotated:
        """The mentions of an answer."""
        effort = Effort.of(answer, n_prompt_tokens)
        if self.decoder == "unconstrained":
            return read_answer(constraint, self._shown(answer), effort, finished=answer.finished)
        text = constraint.text
        tagged = constraint.read(self._vocabulary.decode(answer.token_ids))
        if tagged is None:
            raise AssertionError(f"the decoder wrote an illegal answer for {text!r}")
        return Annotated(Sentence("", text).with_mentions(self._mentions(text, tagged, answer)), effort)

    def _decode(
        self, constraint: Constraint, prompt_ids: Sequence[int], expected: Sequence[Mention]
    ) -> Decoder:
        room = self._prompt.room
        if self._engine is not None:
            return stepwise(prompt_ids, self._engine.start(constraint), room, summary=self._legal_mass)
        return _DECODERS[self.decoder](
            prompt_ids,
            LegalTokens(constraint, self._tag_tokens, self.rule),
            room,
            expected,
            self._bias,
            horizon=self._horizon,
            summary=self._legal_mass,
        )

    def _constraint(self, text: str) -> Constraint:
        leading_space = self._vocabulary.leading_space
        return Constraint(text, self._machine, boundary=self._boundary, leading_space=leading_space)

    def _n_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode(text))

    def _mentions(self, text: str, tagged: Sequence[TaggedSpan], answer: Answer) -> Iterator[Mention]:
        """The mentions of a constrained answer.

        The confidence of one is the probability that the model writes just it, given what came before.
        """
        n_bytes = (len(self._vocabulary.token_bytes[token_id]) for token_id in answer.token_ids)
        decided = (None if choice is None else choice.margins for choice in answer.choices)
        margins = decisions_by_span(tagged, zip(n_bytes, decided, strict=True))
        for span, decisions in zip(tagged, margins, strict=True):
            sure = confidence(decisions, self._temperature)
            yield replace(span.mention(text), confidence=sure, margins=tuple(decisions))

    def _shown(self, answer: Answer) -> bytes:
        """The text of a free answer: control tokens are left out, unless they are tags."""
        hidden = self._vocabulary.control_ids - self._tag_tokens.controls.keys()
        return self._vocabulary.decode(i for i in answer.token_ids if i not in hidden)


@dataclass(frozen=True)
class _DecodedWindow:
    """A window in the scheduler's hands."""

    transport: ByLogits
    constraint: Constraint
    ticket: Ticket[Answer]
    n_prompt_tokens: int

    def result(self) -> Annotated:
        return self.transport.read(self.constraint, self.ticket.result(), self.n_prompt_tokens)

    def cancel(self) -> None:
        self.ticket.cancel()


def _require_known_types(tag_tokens: TagTokens) -> None:
    """Raise SchemaError if a model with its own tags, which sees no instructions, lacks those of a type."""
    spelt = tag_tokens.vocabulary.control_by_bytes
    own = [tag[2:-1].decode() for tag in spelt if tag[:2] == b"</" and b"<" + tag[2:] in spelt]
    unknown = [t.name for t in tag_tokens.machine.markup.schema.types if t.tag not in own]
    if own and unknown:
        raise SchemaError(
            f"the model was trained for {', '.join(own)}, and does not know {', '.join(unknown)}: use an "
            "instruct model (--model), or train one for these types (finetune, train-bundled)"
        )


def _answer_ids(tag_tokens: TagTokens, boundary: Boundary, rule: TokenRule, example: Sentence) -> list[int]:
    """An example's answer as decoding would have written it, without the stop token."""
    machine, leading_space = tag_tokens.machine, tag_tokens.vocabulary.leading_space
    kept, _ = machine.markup.expressible(example, boundary)
    constraint = Constraint(example.text, machine, boundary=boundary, leading_space=leading_space)
    return [token_id for token_id, _ in LegalTokens(constraint, tag_tokens, rule).encode(kept)][:-1]


def _warn_of_missing_bytes(vocabulary: Vocabulary, notify: Callable[[str], None]) -> None:
    missing = vocabulary.missing_bytes
    if not missing:
        return
    if len(missing) > _FEW_BYTES:
        lacks = "has no byte tokens, so it lacks many characters"
    else:
        lacks = f"lacks {len(missing)} of 256 bytes ({', '.join(f'{byte:02x}' for byte in missing)})"
    notify(f"the model's vocabulary {lacks}: sentences with characters that it cannot write will fail")


def _decoder_and_rule(settings: Settings) -> tuple[str, TokenRule]:
    """As they were chosen, or as they go with the engine."""
    if settings.engine != "native":
        return "stepwise", "any"
    decoder = settings.decoder or "copy-draft"
    return decoder if settings.constrained else "unconstrained", settings.rule or "canonical"
