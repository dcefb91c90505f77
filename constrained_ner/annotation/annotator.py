"""The library's front door: text in, sentences with mentions out.

from constrained_ner import Annotator
ner = Annotator.load()
for mention in ner.annotate("Effect of aspirin on beta-blockers.").mentions:
    print(mention.start, mention.end, mention.text, mention.type, mention.confidence)
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..adapters import AdapterCard, BaseModelIdentity
from ..backends import load_backend
from ..backends.protocol import LogitsBackend, TextBackend
from ..constraint.automaton import TagMachine
from ..constraint.markup import Markup
from ..data import Mention, Sentence
from ..decoding.confidence import least_confidence
from ..errors import ModelError, SentenceError, UserError
from ..formats.name_lines import read_names
from ..prompting.examples.pool import examples_hash
from ..prompting.messages import Chooser, Prompts
from ..prompting.wording import PromptFile
from ..schema import DDI, Schema
from .by_logits import ByLogits
from .by_text import ByText
from .consistency import consistent
from .lexicon import Lexicon, key_of
from .pipeline import OnWindow, Pipeline, Transport
from .result import Annotated
from .settings import Settings

Backend = LogitsBackend | TextBackend
Notify = Callable[[str], None]


class Annotator:
    """Finds the names in texts with one model. Make one with `load`.

    Threads may share an annotator, and iterators may overlap: each gets the answers it would get by itself.
    A forked process needs an annotator of its own. Use it in a `with` block, or `close` it.
    """

    def __init__(
        self,
        backend: Backend,
        settings: Settings | None = None,
        *,
        notify: Notify = warnings.warn,
        **options: Any,
    ) -> None:
        """Use an open back end. options: fields of `Settings`. notify: told what the user should know."""
        settings = dataclasses.replace(settings or Settings(), **options)
        self.backend = backend
        self.schema = read_schema(settings) or DDI
        self.prompt = read_prompt(settings) or PromptFile.built_in()
        self.knows_confidence = backend.shows_logits and settings.constrained
        self.settings = _settled(settings, backend, self.knows_confidence)
        self._process = os.getpid()
        self._markup = Markup(self.schema)
        prompts = Prompts(
            self.prompt,
            self._markup,
            _examples(settings),
            instructions=settings.instructions,
            boundary=settings.boundary,
        )
        machine = TagMachine(self._markup)
        self.examples = prompts.examples
        self._transport: Transport
        if backend.shows_logits:
            by_logits = ByLogits(backend, prompts, machine, settings, notify)
            self._transport = by_logits
            self._decoder, self._rule = by_logits.decoder, by_logits.rule
            self.examples = prompts.examples if by_logits.examples is None else by_logits.examples
        else:
            self._transport = ByText(backend, prompts, machine, settings, notify)
            self._decoder, self._rule = "server" if settings.constrained else "unconstrained", "any"
        names = _expected_names(settings, self._markup)
        self._pipeline = Pipeline(self._transport, names, self._expressible, settings.boundary)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        settings: Settings | None = None,
        *,
        loaded: Backend | None = None,
        notify: Notify = warnings.warn,
        **options: Any,
    ) -> Annotator:
        """Load a model: None for the bundled one, a GGUF file, a folder, a hub id, a name on a server.

        options: fields of `Settings`, for example min_confidence=0.9; they change `settings`.
        loaded: the model, if another annotator has loaded it with the same options. Raises UserError.
        """
        if model is not None:
            options["model"] = str(model)
        settings = dataclasses.replace(settings or Settings(), **options)
        name = settings.model or str(bundled_model())
        # Before the model is loaded: a missing adapter should not take half a minute to notice.
        card = AdapterCard.load(settings.adapter) if settings.adapter else None
        backend = load_backend(name, **settings.model_options()) if loaded is None else loaded
        if backend.adapter_card is not None:
            card = AdapterCard.parse(backend.adapter_card, settings.lora or name)
        if card is not None:
            settings = _as_trained(settings, card, backend, name, notify)
        return cls(backend, settings, notify=notify)

    def annotate(self, text: str) -> Sentence:
        """The text as a sentence with its mentions. Raises SentenceError if it cannot be annotated."""
        return next(self.annotate_many([text]))

    def annotate_many(self, texts: Iterable[str]) -> Iterator[Sentence]:
        """The texts as sentences, in order, ids from 0. Raises SentenceError at the first that fails."""
        for annotated in self.run(Sentence(str(n), text) for n, text in enumerate(texts)):
            yield _succeeded(annotated)

    def annotate_document(self, texts: Iterable[str]) -> list[Sentence]:
        """The sentences of one document, made to agree on each name. Raises SentenceError."""
        found = list(self.run((Sentence(str(n), text) for n, text in enumerate(texts)), doubtful=True))
        return self.agreed([_succeeded(annotated) for annotated in found])

    def run(
        self,
        sentences: Iterable[Sentence],
        *,
        doubtful: bool = False,
        finished: Sequence[Sentence | None] = (),
        on_window: OnWindow | None = None,
    ) -> Iterator[Annotated]:
        """Annotate sentences, in order, whatever mentions they have. Failures are reported, not raised.

        doubtful: keep mentions below the least confidence, for `agreed` to judge. finished: what an
        interrupted run has done, None for what failed. on_window: told of progress in long sentences.
        """
        self._require_own_process()
        least = 0.0 if doubtful else self.settings.min_confidence or 0.0

        def keep(annotated: Annotated) -> Annotated:
            surer = annotated.surer_than(least)
            return surer.exact_only() if self.settings.strict else surer

        learns = self._decoder != "unconstrained"
        yield from self._pipeline.run(sentences, keep, finished=finished, learns=learns, on_window=on_window)

    def agreed(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """The sentences of one document made consistent, as `run` leaves them with the doubtful mentions."""
        least = self.settings.min_confidence or 0.0
        return consistent(sentences, self._expressible, min_confidence=least)

    def choices(self) -> dict[str, Any]:
        """All that was chosen, as plain data, for the record of a run."""
        return {
            **_as_typed(self.settings),
            **self.settings.deciding(),
            "model": self.backend.description,
            "schema": self.schema.name,
            "schema_hash": self.schema.hash(),
            "prompt": self.prompt.name,
            "prompt_hash": self.prompt.hash(),
            **self._shown_examples(),
            "decoder": self._decoder,
            "rule": self._rule,
            "temperature": self.backend.temperature,
            "context_length": self.backend.context_length,
        }

    def identity(self) -> dict[str, Any]:
        """What decides the answers, as plain data: two annotators with the same one write the same."""
        return {
            **self.settings.deciding(),
            "model": self.backend.identity,
            "schema": self.schema.hash(),
            "prompt": self.prompt.hash(),
            "examples": self._shown_examples()["examples_hash"],
            "decoder": self._decoder,
            "rule": self._rule,
            "temperature": self.backend.temperature,
            "context_length": self.backend.context_length,
        }

    def close(self) -> None:
        """Give back the model's memory."""
        self.backend.close()

    def __enter__(self) -> Annotator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expressible(self, sentence: Sentence) -> Sequence[Mention]:
        return self._markup.expressible(sentence, self.settings.boundary)[0]

    def _shown_examples(self) -> dict[str, Any]:
        """What was shown: the ids, unless each sentence had examples of its own."""
        if callable(self.examples):
            return {"examples_hash": self.examples.hash()}
        return {
            "example_ids": [example.id for example in self.examples],
            "examples_hash": examples_hash(self.examples),
        }

    def _require_own_process(self) -> None:
        if os.getpid() != self._process:
            raise ModelError(
                f"the annotator was made in process {self._process} and cannot be used in a fork of it: "
                "load one in each worker process"
            )


def bundled_model() -> Path:
    """The model that ships with the package."""
    folder = resources.files("constrained_ner") / "bundled"
    found = sorted(Path(str(folder)).glob("*.gguf"))
    if not found:
        raise ModelError(f"{folder}: the bundled model is missing; name a model with --model")
    return found[0]


def read_schema(settings: Settings) -> Schema | None:
    """The entity types that were asked for; None for the adapter's, or DDI."""
    return Schema.load(settings.schema) if isinstance(settings.schema, Path) else settings.schema


def read_prompt(settings: Settings) -> PromptFile | None:
    """The wording that was asked for; None for the adapter's, or plain."""
    return PromptFile.named(settings.prompt) if isinstance(settings.prompt, str) else settings.prompt


def _settled(settings: Settings, backend: Backend, knows_confidence: bool) -> Settings:
    """The settings with what depends on the model filled in. Raises UserError for what it cannot do."""
    if (settings.min_confidence or settings.bias) and not knows_confidence:
        raise UserError("--min-confidence and --bias need a local model and a constrained decoder")
    least = least_confidence(backend.temperature) if knows_confidence else 0.0
    return dataclasses.replace(
        settings,
        min_confidence=least if settings.min_confidence is None else settings.min_confidence,
        consistency=knows_confidence if settings.consistency is None else settings.consistency,
    )


def _as_trained(
    settings: Settings, card: AdapterCard, backend: Backend, name: str, notify: Notify
) -> Settings:
    """The settings with the schema and prompt that the adapter was trained for, unless others were asked for.

    Raises ModelError if the adapter does not fit what was asked for, unless `force` is set.
    """
    adapter = settings.adapter or settings.lora or name
    schema = read_schema(settings) or card.entity_schema
    prompt = read_prompt(settings) or card.prompt
    if not settings.constrained and not card.writes_freely:
        notify(
            f"{adapter}: trained with --loss legal, which leaves copying to the constraint, so it cannot "
            "generate freely; --loss completion teaches both"
        )
    if not settings.force and backend.shows_logits:
        model: Mapping[str, str] | None = backend.description
        if backend.adapter_card is not None:  # a GGUF file knows what it was made of, or does not say
            base = backend.base_model and BaseModelIdentity.parse(backend.base_model, name)
            model = base.model_dump(exclude_none=True) if base else None
        card.require(adapter, schema=schema, prompt=prompt, chat_template=backend.chat_template, model=model)
    return dataclasses.replace(settings, schema=schema, prompt=prompt)


def _examples(settings: Settings) -> Sequence[Sentence] | Chooser:
    """The examples to show; chosen from the file that was named, if a run has not chosen them already."""
    examples = settings.examples
    if isinstance(examples, (str, Path)):
        raise UserError("--examples: a run chooses examples from a file; give sentences")
    return () if examples is None else examples


def _expected_names(settings: Settings, markup: Markup) -> Lexicon:
    pairs = read_names(settings.names) if isinstance(settings.names, Path) else settings.names or ()
    return Lexicon({key_of(name): kind for name, kind in pairs if kind in markup.types})


def _as_typed(settings: Settings) -> dict[str, Any]:
    """The options that differ from their defaults and are plain data; paths as they were typed."""
    typed: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, (str, int, float, Path)) and value != field.default:
            typed[field.name] = str(value) if isinstance(value, Path) else value
    return typed


def _succeeded(annotated: Annotated) -> Sentence:
    if annotated.failure is not None:
        raise SentenceError(f"sentence {annotated.sentence.id}: {annotated.failure}")
    return annotated.sentence
