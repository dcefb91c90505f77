"""Annotation by a model whose logits we see: decoded here, under the constraint or freely.

window -> constraint, prompt, decoder -> the scheduler's forward passes -> an answer -> mentions
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from ..backends.protocol import LogitsBackend
from ..constraint.answer_form import AnswerForm, AnswerTokens
from ..constraint.bias import Bias
from ..constraint.edges import Boundary
from ..constraint.legal import LegalTokens, LegalTokenSets, TokenRule
from ..constraint.sentence_automaton import SentenceAutomaton, TaggedSpan
from ..data import Mention, Sentence
from ..decoding.answer import Answer, Decoder
from ..decoding.confidence import confidence
from ..decoding.copy_draft import copy_draft
from ..decoding.engines import GrammarEngine
from ..decoding.scheduler import Ticket, scheduler_of
from ..decoding.stepwise import stepwise
from ..decoding.survey import REACH_IN_LISTS, Survey, path_of, survey_sentence
from ..decoding.unconstrained import unconstrained
from ..errors import SchemaError, SentenceError, UserError
from ..prompting.budget import FittedPrompt
from ..prompting.messages import Prompts
from ..prompting.records import Conversation
from ..text.windows import windows
from ..vocabulary import Vocabulary
from .decisions import decisions_by_span
from .free_answer import read_answer
from .lexicon_prior import LexiconPrior
from .result import Annotated, Effort
from .settings import Settings
from .xray import Setting, XRay

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
        form: AnswerForm,
        settings: Settings,
        notify: Callable[[str], None],
        prior: LexiconPrior | None = None,
    ) -> None:
        self.n_at_once = backend.max_sequences
        self.decoder, self.rule = _decoder_and_rule(settings)
        self._boundary = settings.boundary
        self._vocabulary = backend.vocabulary
        _warn_of_missing_bytes(backend.vocabulary, notify)
        self._temperature = 1.0 if backend.temperature is None else backend.temperature
        conversation = Conversation.of(form.name, backend.chat_template, backend.vocabulary)
        self.tokens = form.spelt(
            backend.vocabulary, end_ids=conversation.end_ids, leading_space=conversation.leading_space
        )
        self._horizon = backend.draft_horizon
        self._legal_mass = settings.legal_mass
        self._bias = self.tokens.bias(settings.bias) if settings.bias else None
        self._prior = prior
        self._engine = None
        if settings.engine != "native":
            self._engine = GrammarEngine(settings.engine, backend, self.tokens)
        self._prompt = FittedPrompt(
            prompts,
            backend.vocabulary,
            conversation.template,
            partial(_answer_ids, form, self.tokens, self._boundary, self.rule),
            context_length=backend.context_length,
            max_tokens=settings.max_prompt_tokens,
            notify=notify,
        )
        trained_for_it = bool(backend.adapter_card is not None or settings.adapter or settings.lora)
        self.asks_untuned = self._prompt.shows_instructions and not trained_for_it
        knows_only_tags = form.name != "tags" or not self._prompt.shows_instructions
        if knows_only_tags and not (trained_for_it or settings.force):
            _require_own_form(form, backend.vocabulary)
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
        legal_tokens = self.tokens.of(window, self.rule, self._boundary)
        prompt_ids = self._prompt.ids(window, sentence)
        decoder = self._decode(legal_tokens, prompt_ids, expected)
        ticket = self._scheduler.submit(decoder, self._prompt.prefix_ids)
        return _DecodedWindow(
            self, legal_tokens.constraint, ticket, len(self._prompt.prefix_ids) + len(prompt_ids)
        )

    def xray(self, text: str) -> XRay:
        """A text of one window, decision by decision. Raises SentenceError."""
        if len(list(islice(self.windows(text), 2))) > 1:
            raise SentenceError("too long to be looked through: it does not fit the context at once")
        legal_tokens = self.tokens.of(text, self.rule, self._boundary)
        if not isinstance(legal_tokens, LegalTokens):
            raise UserError("the X-ray is for answers in tags; leave out --answer list")
        return Setting(
            self._prompt.ids(text, text),
            tuple(self._prompt.prefix_ids),
            legal_tokens,
            self._prompt.room,
            self._bias,
            self._prior_of(legal_tokens),
            self._horizon,
            self._scheduler,
            self._vocabulary,
            frozenset(self._vocabulary.control_ids - self.tokens.controls.keys()),
        ).xray()

    def survey(
        self, text: str, answers: Sequence[Sequence[Mention]], reach: float | None = None
    ) -> Ticket[Survey]:
        """Ask for the scores around these answers to a text (see `decoding.survey`). Raises SentenceError."""
        legal_tokens = self.tokens.of(text, self.rule, self._boundary)
        survey = Survey(legal_tokens, self._prior_of(legal_tokens))
        paths = [path_of(survey, (i for i, _ in legal_tokens.encode(mentions))) for mentions in answers]
        if reach is None and not isinstance(legal_tokens, LegalTokens):
            reach = REACH_IN_LISTS
        reaches = {} if reach is None else {"reach": reach, "reach_on_turns": reach}
        routine = survey_sentence(self._prompt.ids(text), survey, paths, self._prompt.room, **reaches)
        return self._scheduler.submit(routine, self._prompt.prefix_ids)

    def _prior_of(self, legal_tokens: LegalTokenSets) -> Bias | None:
        """What the listed names in a text add."""
        constraint = legal_tokens.constraint
        names = [] if self._prior is None else self._prior.names_in(constraint)
        return self.tokens.place_bias(names, constraint.text, self._boundary) if names else None

    def close(self) -> None:
        self._scheduler.close()

    def read(self, constraint: SentenceAutomaton, answer: Answer, n_prompt_tokens: int) -> Annotated:
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
        self, legal_tokens: LegalTokenSets, prompt_ids: Sequence[int], expected: Sequence[Mention]
    ) -> Decoder:
        room = self._prompt.room
        if self._engine is not None:
            engine_tokens = self._engine.start(legal_tokens.constraint)
            return stepwise(prompt_ids, engine_tokens, room, summary=self._legal_mass)
        return _DECODERS[self.decoder](
            prompt_ids,
            legal_tokens,
            room,
            expected,
            self._bias,
            prior=self._prior_of(legal_tokens),
            horizon=self._horizon,
            summary=self._legal_mass,
        )

    def _n_tokens(self, text: str) -> int:
        return len(self._vocabulary.encode(text))

    def _mentions(self, text: str, tagged: Sequence[TaggedSpan], answer: Answer) -> Iterator[Mention]:
        """The mentions of a constrained answer, each with the decisions that wrote it.

        Between tags they are that a tag opens here, of this type, that it does not close before, and that it
        closes there; in a list, that one more name is listed, this one, of this type. So the confidence is
        the probability that the model writes just this mention, given what came before.
        """
        n_bytes = (len(self._vocabulary.token_bytes[token_id]) for token_id in answer.token_ids)
        decided = (None if choice is None else choice.margins for choice in answer.choices)
        margins = decisions_by_span(tagged, zip(n_bytes, decided, strict=True))
        for span, decisions in zip(tagged, margins, strict=True):
            sure = confidence(decisions, self._temperature)
            yield replace(span.mention(text), confidence=sure, margins=tuple(decisions))

    def _shown(self, answer: Answer) -> bytes:
        """The text of a free answer: control tokens are left out, unless they are tags."""
        hidden = self._vocabulary.control_ids - self.tokens.controls.keys()
        return self._vocabulary.decode(i for i in answer.token_ids if i not in hidden)


@dataclass(frozen=True)
class _DecodedWindow:
    """A window in the scheduler's hands."""

    transport: ByLogits
    constraint: SentenceAutomaton
    ticket: Ticket[Answer]
    n_prompt_tokens: int

    def result(self) -> Annotated:
        return self.transport.read(self.constraint, self.ticket.result(), self.n_prompt_tokens)

    def cancel(self) -> None:
        self.ticket.cancel()


def _require_own_form(form: AnswerForm, vocabulary: Vocabulary) -> None:
    """Raise SchemaError if a model with its own tags, which sees no instructions, cannot know this form."""
    spelt = vocabulary.control_by_bytes
    own = [tag[2:-1].decode() for tag in spelt if tag[:2] == b"</" and b"<" + tag[2:] in spelt]
    if own and form.name != "tags":
        raise SchemaError(
            f"the model was trained to write tags, not a {form.name}: leave out --answer {form.name}, or use "
            "an instruct model (--model)"
        )
    unknown = [t.name for t in form.markup.schema.types if t.tag not in own]
    if own and unknown:
        raise SchemaError(
            f"the model was trained for {', '.join(own)}, and does not know {', '.join(unknown)}: use an "
            "instruct model (--model), or train one for these types (finetune, train-bundled)"
        )


def _answer_ids(
    form: AnswerForm, tokens: AnswerTokens, boundary: Boundary, rule: TokenRule, example: Sentence
) -> list[int]:
    """An example's answer as decoding would have written it, without the stop token."""
    kept, _ = form.markup.expressible(example, boundary)
    return [token_id for token_id, _ in tokens.of(example.text, rule, boundary).encode(kept)][:-1]


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
