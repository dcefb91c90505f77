"""The library's front door: text in, sentences with mentions out.

from constrained_ner import Annotator
ner = Annotator.load()
for mention in ner.annotate("Effect of aspirin on beta-blockers.").mentions:
    print(mention.start, mention.end, mention.text, mention.type, mention.confidence)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..adapters import AdapterCard, BaseModelIdentity
from ..backends import load_backend
from ..backends.protocol import LogitsBackend, Scores, TextBackend
from ..constraint.automaton import Constraint, TaggedSpan, TagMachine
from ..constraint.bias import TypeBias
from ..constraint.edges import Boundary
from ..constraint.legal import LegalTokens, Rule, TagTokens
from ..constraint.markup import Markup
from ..data import Mention, Sentence
from ..decoding.answer import Answer, Decoder, Extend
from ..decoding.confidence import confidence, least_confidence
from ..decoding.copy_draft import copy_draft
from ..decoding.engines import EngineName, GrammarEngine
from ..decoding.scheduler import run_all
from ..decoding.stepwise import stepwise
from ..decoding.unconstrained import unconstrained
from ..errors import ContextOverflowError, ModelError, SentenceError, UserError
from ..prompting.budget import FittedPrompt
from ..prompting.encoder import Instructions, PromptFile, Prompts
from ..prompting.examples import Chooser
from ..schema import DDI, Schema
from ..text.windows import cut_near_middle
from .by_text import TextAnnotation
from .consistency import consistent
from .free_answer import read_answer
from .lexicon import Lexicon, key_of
from .result import Annotated, Effort

DecoderName = Literal["copy-draft", "stepwise", "unconstrained"]

_Decode = Callable[[Sequence[int], LegalTokens, int, Sequence[Mention], TypeBias | None], Decoder]

DECODERS: dict[DecoderName, _Decode] = {
    "copy-draft": copy_draft,
    "stepwise": stepwise,
    "unconstrained": unconstrained,
}


class Annotator:
    """Finds the names in texts with one model, whether its logits are seen or its answers alone.

    decoder: copy-draft (the default) and stepwise are constrained and give the same answer; unconstrained
        generates freely and aligns the answer with the text.
    rule: which tokenisations of a legal answer are allowed (see `legal`); canonical by default.
    engine: what says which tokens are legal. All but "native" are there to be compared with (see `engines`);
        they decode stepwise, by the rule `any`.
    boundary: where a mention may start and end (see `edges`).
    examples: sentences with mentions to show in the prompt, the most useful first; or a Chooser, which gives
        each text its own. Those that do not fit are left out, which `notify` is told of.
    instructions: where they stand: once, or in each turn of the user's.
    max_prompt_tokens: the most that instructions and examples may take.
    names: (name, type) pairs that the texts may well hold, for drafts: they save time and change no answer.
        Those that are found on the way are added.
    min_confidence: leave out mentions that the model is less sure of, in [0, 1]. None: 0.4 for a model that
        has been calibrated (see `confidence`), else 0.
    bias: type -> what to add to the logit of opening it (see `bias`): more of it is found, or less.

    A model on a server decodes by itself: of decoder and rule, it matters only whether it is `unconstrained`.
    Raises ModelError where prompt and examples leave no room in the model's context, SchemaError for a bias
    of a type that the schema does not have, UserError where answers have no probabilities to judge by.
    """

    def __init__(
        self,
        backend: LogitsBackend | TextBackend,
        *,
        schema: Schema = DDI,
        prompt: PromptFile | None = None,
        examples: Sequence[Sentence] | Chooser = (),
        instructions: Instructions = "once",
        max_prompt_tokens: int | None = None,
        decoder: DecoderName | None = None,
        rule: Rule | None = None,
        engine: EngineName = "native",
        boundary: Boundary = "word",
        names: Iterable[tuple[str, str]] = (),
        min_confidence: float | None = None,
        bias: Mapping[str, float] | None = None,
        notify: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.backend = backend
        self.schema = schema
        self.prompt = prompt or PromptFile.built_in()
        self.examples = examples
        self.instructions: Instructions = instructions
        self.max_prompt_tokens = max_prompt_tokens
        decoder, rule = _settled(engine, decoder, rule)
        self.decoder: str = decoder
        self.rule: Rule = rule
        self.engine: EngineName = engine
        self.boundary: Boundary = boundary
        self.markup = Markup(schema)
        self.names = Lexicon({key_of(name): kind for name, kind in names if kind in self.markup.types})
        self.bias = dict(bias or {})
        judge = None if decoder == "unconstrained" or not backend.shows_logits else backend
        self.knows_confidence = judge is not None
        if (min_confidence or bias) and not judge:
            raise UserError("a least confidence and a bias need a constrained decoder on this machine")
        if bias and engine != "native":  # the states of other engines do not say which type a tag has
            raise UserError(f"the engine {engine} takes no bias: use the native one")
        if min_confidence is None:
            min_confidence = least_confidence(judge.temperature or 1.0) if judge else 0.0
        if not 0 <= min_confidence <= 1:
            raise UserError(f"a least confidence of {min_confidence}, which is not between 0 and 1")
        self.min_confidence = min_confidence
        self._machine = TagMachine(self.markup)
        prompts = Prompts(self.prompt, self.markup, examples, instructions=instructions, boundary=boundary)
        self._by_text: TextAnnotation | None = None
        if not backend.shows_logits:
            if engine != "native":
                raise UserError(f"the engine {engine} needs a model on this machine; a server has its own")
            if max_prompt_tokens is not None:
                raise UserError(
                    "--max-prompt-tokens needs a model on this machine: here nobody can count them"
                )
            constrained = decoder != "unconstrained"
            self.decoder, self.rule = "server" if constrained else decoder, "any"
            self._by_text = TextAnnotation(
                backend, prompts, self._machine, boundary=boundary, constrained=constrained, notify=notify
            )
            return  # the rest is for decoding here
        self._model = backend
        self._decode = DECODERS[decoder]
        self._vocabulary = backend.vocabulary
        self._tag_tokens = TagTokens(self._machine, self._vocabulary)
        self._engine = None if engine == "native" else GrammarEngine(engine, backend, self._tag_tokens)
        self._type_bias = TypeBias(self.bias, self._machine, self._vocabulary) if bias else None
        self._prompt = FittedPrompt(
            prompts,
            self._vocabulary,
            backend.chat_template,
            self._answer_ids,
            context_length=backend.context_length,
            max_tokens=max_prompt_tokens,
            notify=notify,
        )
        if self._prompt.examples is not None:
            self.examples = self._prompt.examples
        self._room = self._prompt.room
        backend.prefill(self._prompt.prefix_ids)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        schema: Schema | None = None,
        prompt: PromptFile | None = None,
        examples: Sequence[Sentence] | Chooser = (),
        instructions: Instructions = "once",
        max_prompt_tokens: int | None = None,
        decoder: DecoderName | None = None,
        rule: Rule | None = None,
        engine: EngineName = "native",
        boundary: Boundary = "word",
        names: Iterable[tuple[str, str]] = (),
        min_confidence: float | None = None,
        bias: Mapping[str, float] | None = None,
        notify: Callable[[str], None] = warnings.warn,
        force: bool = False,
        backend: LogitsBackend | TextBackend | None = None,
        **backend_options: Any,
    ) -> Annotator:
        """Load a model: None for the bundled one, a GGUF file, a folder of transformers, a hub's id,
        or `ollama:NAME` or `openai:NAME` (with base_url) on a server.

        schema, prompt: None takes the adapter's own, or the built-in ones.
        force: use an adapter with a schema, prompt or model that it was not trained for.
        backend: the model, if another annotator has loaded it with the same options.
        backend_options: adapter, quantize, device, ... (see the back ends). Raises ModelError.
        """
        decoder, rule = _settled(engine, decoder, rule)  # before the model is loaded
        adapter = backend_options.get("adapter")
        card = AdapterCard.load(adapter) if adapter else None  # before the model is loaded, too
        name = str(model or bundled_model())
        if backend is None:
            backend = load_backend(name, **backend_options)
        written = backend.adapter_card  # a GGUF file brings the card in its metadata
        if written is not None:
            card = AdapterCard.parse(written, backend_options.get("lora") or name)
        base = backend.base_model
        made_of = BaseModelIdentity.parse(base, name).model_dump(exclude_none=True) if base else None
        schema = schema or (card.entity_schema if card else DDI)
        prompt = prompt or (card.prompt if card else PromptFile.built_in())
        trained = adapter or backend_options.get("lora") or name
        if card and decoder == "unconstrained" and not card.writes_freely:
            notify(
                f"{trained}: trained with --loss legal, which leaves copying to the constraint, so it cannot "
                "write freely; --loss completion teaches both"
            )
        if card and not force and backend.shows_logits:
            card.require(
                trained,
                schema=schema,
                prompt=prompt,
                chat_template=backend.chat_template,
                model=backend.description if written is None else made_of,
            )
        return cls(
            backend,
            schema=schema,
            prompt=prompt,
            examples=examples,
            instructions=instructions,
            max_prompt_tokens=max_prompt_tokens,
            decoder=decoder,
            rule=rule,
            engine=engine,
            boundary=boundary,
            names=names,
            min_confidence=min_confidence,
            bias=bias,
            notify=notify,
        )

    def annotate(self, text: str) -> Sentence:
        """The text as a sentence with its mentions. Raises SentenceError if it cannot be annotated."""
        return next(self.annotate_many([text]))

    def annotate_many(self, texts: Iterable[str]) -> Iterator[Sentence]:
        """The texts as sentences, in order, as many under way at once as the back end has slots; ids from 0.

        Raises SentenceError at the first text that cannot be annotated; `run` goes on instead.
        """
        for annotated in self.run(Sentence(str(n), text) for n, text in enumerate(texts)):
            yield _succeeded(annotated)

    def annotate_document(self, texts: Iterable[str]) -> list[Sentence]:
        """The sentences of one document, each name marked everywhere with one type, or nowhere.

        What the model finds in one sentence counts in the others (see `consistency`). Raises SentenceError.
        """
        found = list(self.run((Sentence(str(n), text) for n, text in enumerate(texts)), doubtful=True))
        return self.agreed([_succeeded(annotated) for annotated in found])

    def run(self, sentences: Iterable[Sentence], *, doubtful: bool = False) -> Iterator[Annotated]:
        """Annotate sentences, in order, whatever mentions they have; failures are reported, not raised.

        doubtful: keep mentions below the least confidence, for `agreed` to judge.
        """
        if self._by_text is not None:
            yield from self._by_text.run(sentences)
            return
        least = 0.0 if doubtful else self.min_confidence
        for annotated in run_all((self._annotate(sentence) for sentence in sentences), self._model):
            annotated = annotated.surer_than(least)
            if annotated.failure is None:
                self.remember(annotated.sentence)
            yield annotated

    def agreed(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """The sentences of one document, as `run` leaves them with the doubtful mentions, made consistent."""
        return consistent(sentences, self._expressible, min_confidence=self.min_confidence)

    def remember(self, sentence: Sentence) -> None:
        """Expect the names of an annotated sentence from now on, as `run` does with what it finds."""
        if self.decoder != "unconstrained":
            self.names.learn(sentence)

    def close(self) -> None:
        """Give back the model's memory."""
        self.backend.close()

    def __enter__(self) -> Annotator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- one sentence

    def _annotate(self, sentence: Sentence) -> Generator[Extend, Sequence[Scores | None], Annotated]:
        try:
            annotated = yield from self._annotate_window(sentence.text, sentence.text)
        except SentenceError as error:
            return Annotated(sentence.with_mentions(()), failure=str(error))
        return replace(annotated, sentence=sentence.with_mentions(annotated.sentence.mentions))

    def _annotate_window(
        self, text: str, question: str
    ) -> Generator[Extend, Sequence[Scores | None], Annotated]:
        """Annotate a text; where it does not fit the context, its halves, cut at white space.

        question: the sentence that the text is a part of.
        """
        constraint = self._constraint(text)
        prompt_ids = self._prompt.ids(text, question)
        try:
            answer = yield from self._decoder(constraint, prompt_ids)
        except ContextOverflowError:
            cut = cut_near_middle(text)
            if cut is None:
                raise
            left = yield from self._annotate_window(text[:cut], question)
            right = yield from self._annotate_window(text[cut:], question)
            return left.followed_by(right)
        effort = Effort.of(answer, len(self._prompt.prefix_ids) + len(prompt_ids))
        if self.decoder == "unconstrained":
            return self._read_free_answer(constraint, answer, effort)
        tagged = constraint.read(self._vocabulary.decode(answer.token_ids))
        if tagged is None:
            raise AssertionError(f"the decoder wrote an illegal answer for {text!r}")
        mentions = [self._mention(text, t, answer) for t in tagged]
        return Annotated(Sentence("", text).with_mentions(mentions), effort)

    def _decoder(self, constraint: Constraint, prompt_ids: Sequence[int]) -> Decoder:
        if self._engine is not None:
            return stepwise(prompt_ids, self._engine.start(constraint), self._room)
        legal_tokens = LegalTokens(constraint, self._tag_tokens, self.rule)
        expected = self._expected(constraint.text)
        return self._decode(prompt_ids, legal_tokens, self._room, expected, self._type_bias)

    def _expected(self, text: str) -> Sequence[Mention]:
        """Mentions of known names, to be guessed in drafts."""
        return self._expressible(Sentence("", text, tuple(self.names.tag(text))))

    def _expressible(self, sentence: Sentence) -> Sequence[Mention]:
        return self.markup.expressible(sentence, self.boundary)[0]

    def _constraint(self, text: str) -> Constraint:
        leading_space = self._vocabulary.leading_space
        return Constraint(text, self._machine, boundary=self.boundary, leading_space=leading_space)

    def _mention(self, text: str, tagged: TaggedSpan, answer: Answer) -> Mention:
        """A mention of a constrained answer, with the decisions from its opening tag to its closing one.

        They are that a tag opens here, of this type, that it does not close before, and that it closes there:
        the confidence is the probability that the model writes just this mention, given what came before.
        """
        margins: list[tuple[float, ...]] = []
        end = 0
        for token_id, choice in zip(answer.token_ids, answer.choices, strict=True):
            start, end = end, end + len(self._vocabulary.token_bytes[token_id])
            if choice is not None and end > tagged.opens_at_byte and start < tagged.closes_at_byte:
                margins.append(choice.margins)
        sure = confidence(margins, self._model.temperature or 1.0)
        return replace(tagged.mention(text), confidence=sure, margins=tuple(margins))

    def _read_free_answer(self, constraint: Constraint, answer: Answer, effort: Effort) -> Annotated:
        """The mentions of an answer that may be anything: exact if it is a legal one, aligned if not."""
        vocabulary = self._vocabulary
        shown = [
            i for i in answer.token_ids if i not in vocabulary.control_ids or i in self._tag_tokens.controls
        ]
        return read_answer(constraint, vocabulary.decode(shown), effort, finished=answer.finished)

    # ---- the prompt

    def _answer_ids(self, example: Sentence) -> list[int]:
        """An example's answer, tokenised as decoding would have written it, without the stop token."""
        kept, _ = self.markup.expressible(example, self.boundary)
        legal_tokens = LegalTokens(self._constraint(example.text), self._tag_tokens, self.rule)
        return [token_id for token_id, _ in legal_tokens.encode(kept)][:-1]


def _settled(engine: EngineName, decoder: DecoderName | None, rule: Rule | None) -> tuple[DecoderName, Rule]:
    """Decoder and rule as they were chosen, or as they go with the engine."""
    if engine == "native":
        return decoder or "copy-draft", rule or "canonical"
    if decoder not in (None, "stepwise"):
        raise UserError(f"the engine {engine} decodes stepwise; it cannot be combined with {decoder}")
    if rule not in (None, "any"):
        raise UserError(f"the engine {engine} has the rule any; it cannot be combined with {rule}")
    return "stepwise", "any"


def _succeeded(annotated: Annotated) -> Sentence:
    if annotated.failure is not None:
        raise SentenceError(f"sentence {annotated.sentence.id}: {annotated.failure}")
    return annotated.sentence


def bundled_model() -> Path:
    """The model that ships with the package."""
    folder = resources.files("constrained_ner") / "bundled"
    found = sorted(Path(str(folder)).glob("*.gguf"))
    if not found:
        raise ModelError(f"{folder}: the bundled model is missing; name a model with --model")
    return found[0]
