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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, overload

from ..adapters import AdapterCard
from ..backends import load_backend
from ..backends.protocol import LogitsBackend, TextBackend
from ..constraint.answer_form import AnswerTokens, answer_form
from ..data import Document, Sentence
from ..decoding.scheduler import Ticket
from ..decoding.survey import Survey
from ..errors import ModelError, SentenceError, UserError
from ..prompting.examples.pool import examples_hash
from ..prompting.messages import Prompts
from ..prompting.wording import USUAL_PROMPTS, PromptFile
from ..schema import DDI
from ..text.sentences import cut_document, known_names
from ..text.view import shown_sentence, view_of
from .about import About, Judge
from .by_logits import ByLogits
from .by_text import ByText
from .documents import annotated_documents
from .given import expected_names, given_examples, numbered, with_stored_point
from .lexicon_prior import LexiconPrior
from .list_hint import with_hint
from .pipeline import OnWindow, Pipeline, Transport
from .resolve import as_trained, reports_confidence, settled
from .result import Annotated
from .settings import Settings
from .shipped import as_shipped
from .xray import XRay

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
        """Use an open back end. options: fields of `Settings`. notify: called with warnings."""
        settings = with_stored_point((settings or Settings()).changed(**options))
        self.backend = backend
        self._given = settings
        self.schema = settings.read_schema() or DDI
        form_name = settings.answer or "tags"
        settings = settings.changed(answer=form_name, occurrences=bool(settings.occurrences))
        self.prompt = settings.read_prompt() or PromptFile.built_in(USUAL_PROMPTS[form_name])
        self.knows_confidence = reports_confidence(backend, settings)
        self.settings = settled(settings, backend, self.knows_confidence)
        self._notify = notify
        self._process = os.getpid()
        self._judge = Judge(self.schema, dataclasses.replace(self.settings, examples=None))
        markup = self._judge.markup
        form = answer_form(form_name, markup, occurrences=bool(settings.occurrences))
        prompts = Prompts(
            self.prompt,
            markup,
            given_examples(settings, self.schema),
            instructions=settings.instructions,
            boundary=settings.boundary,
            view=settings.view,
            form=form,
        )
        knows_places = self.knows_confidence and backend.shows_logits
        if settings.lexicon not in (None, "none") and not knows_places:
            notify("--lexicon is not applied: it needs a local model that answers under the constraint")
        self._prior = LexiconPrior.read(
            self.settings.lexicon or "none", self.settings.lexicon_weight, markup.types
        )
        self._transport: Transport = (
            ByLogits(backend, prompts, form, settings, notify, self._prior if knows_places else None)
            if backend.shows_logits
            else ByText(backend, prompts, form, settings, notify)
        )
        self._may_hint = form_name == "tags" and settings.constrained and self._transport.asks_untuned
        self.examples = self._transport.examples
        drafts = self._transport.decoder == "copy-draft"
        names = expected_names(settings, markup, drafts=drafts)
        self._pipeline = Pipeline(
            self._transport, names, self._judge.expressible, settings.boundary, settings.view
        )

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

        Raises UserError.

        Args:
            model: what to load.
            settings: how to annotate.
            loaded: the model, if another annotator has loaded it with the same options.
            notify: called with each warning.
            options: fields of `Settings`, for example `min_confidence=0.9`; they change `settings`.
        """
        if model is not None:
            options["model"] = model
        settings = as_shipped((settings or Settings()).changed(**options))
        name = settings.model or str(bundled_model())
        # Before the model is loaded: a missing or damaged file should not take half a minute to notice.
        settings.read_schema()
        settings.read_prompt()
        card = AdapterCard.load(settings.adapter or name)
        opened = load_backend(name, **settings.model_options()) if loaded is None else loaded
        try:
            if opened.adapter_card is not None:
                card = AdapterCard.parse(opened.adapter_card, settings.lora or name)
            if card is not None:
                settings = as_trained(settings, card, opened, name, notify)
            elif opened.shows_logits and opened.chat_template is None:
                notify(
                    f"{name}: no chat template, so the model is asked in plain text: the instructions, then "
                    "sentences, each followed by its answer; examples (--shots) tell it what to write"
                )
            return cls(opened, settings, notify=notify)
        except BaseException:
            if loaded is None:
                opened.close()
            raise

    def annotate(self, text: str) -> Sentence:
        """The text as a sentence with its mentions. Raises SentenceError if it cannot be annotated."""
        if not isinstance(text, str):
            raise UserError(f"annotate takes a text (str), not {type(text).__name__}: {text!r:.40}")
        annotated = next(self.run([Sentence("0", text)]))
        return _succeeded(annotated)

    def annotate_many(self, texts: Iterable[str]) -> Iterator[Sentence]:
        """The texts as sentences, in order, ids from 0.

        A text that cannot be annotated fails by itself: it is named through `notify`, and its sentence has
        no mentions, but says why (`failure`).
        """
        return map(self._told, self.run(numbered(texts, "annotate_many")))

    @overload
    def annotate_document(self, text: str) -> Document: ...  # type: ignore[overload-overlap]
    @overload
    def annotate_document(self, text: Iterable[str]) -> list[Sentence]: ...
    def annotate_document(self, text: str | Iterable[str]) -> Document | list[Sentence]:
        """A running text of any length, or the sentences of a document, made to agree on each name.

        A text is cut into sentences, and comes back as a document whose offsets count in it
        (`document.located()`). Sentences come back as they were given, in a list.
        Raises SentenceError if a sentence fails: the others cannot agree with it.
        """
        if not isinstance(text, str):
            found = list(self.run(numbered(text, "annotate_document"), doubtful=True))
            return self.agreed([_succeeded(annotated) for annotated in found])
        document = cut_document(Document.of_text("0", text), known_names())
        results = [_succeeded(annotated) for annotated in self.run(document, doubtful=True)]
        return dataclasses.replace(document, sentences=tuple(self.agreed(results)))

    def annotate_documents(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Documents with their mentions, in order, each as soon as it is done; running text is cut first.

        A sentence that fails is named through `notify`, and says why (`failure`).
        """
        about = self.about()

        def run(sentences: Iterator[Sentence]) -> Iterator[Annotated]:
            return self.run(sentences, doubtful=about.consistency)

        for document, found in annotated_documents(documents, run, about):
            for annotated in found:
                self._told(annotated)
            yield document

    def run(
        self,
        sentences: Iterable[Sentence],
        *,
        doubtful: bool = False,
        finished: Sequence[Sentence | None] = (),
        proven: bool = False,
        on_window: OnWindow | None = None,
    ) -> Iterator[Annotated]:
        """Annotate sentences, in order, whatever mentions they have. Failures are reported, not raised.

        Args:
            sentences: what to annotate.
            doubtful: keep mentions below the least confidence, for `agreed` to judge.
            finished: what an interrupted run has done, None for what failed.
            proven: the model has answered before, even if that is not in `finished`.
            on_window: called within long sentences.
        """
        self._require_own_process()
        least = 0.0 if doubtful else self.settings.min_confidence or 0.0

        def keep(annotated: Annotated) -> Annotated:
            surer = annotated.surer_than(least)
            return surer.exact_only() if self.settings.strict else surer

        learns = self._transport.decoder != "unconstrained"
        results = self._pipeline.run(
            sentences, keep, finished=finished, proven=proven, learns=learns, on_window=on_window
        )
        yield from with_hint(results, self._notify) if self._may_hint and not finished else results

    def biased(self, bias: Mapping[str, float]) -> Annotator:
        """An annotator with the same model and settings, and this bias. Closing either closes the model."""
        return Annotator(self.backend, dataclasses.replace(self._given, bias=bias), notify=lambda _: None)

    def surveys(
        self, sentences: Iterable[Sentence], reach: float | None = None, *, copy: bool = True
    ) -> Iterator[tuple[Sentence, Survey]]:
        """What the model scores along the gold answers and around them, for fitting an operating point.

        reach: how unlikely the answers may be that are followed (see `decoding.survey`).
        copy: also survey the answer that marks nothing.

        Sentences come as the model is shown them, with the mentions that tags can express; those that fail
        are left out. Raises UserError for a model whose logits are not seen.
        """
        if not (self.knows_confidence and isinstance(self._transport, ByLogits)):
            raise UserError("an operating point needs a local model and a constrained decoder")
        asked: deque[tuple[Sentence, Ticket[Survey]]] = deque()
        for sentence in sentences:
            shown = shown_sentence(sentence, self.settings.view)
            gold = tuple(self._judge.expressible(shown))
            answers = [(), gold] if gold and copy else [gold]
            try:
                asked.append((shown, self._transport.survey(shown.text, answers, reach)))
            except (SentenceError, ValueError) as error:
                self._notify(f"sentence {sentence.id} is not used for fitting: {error}")
            if len(asked) == 2 * self.backend.max_sequences:
                yield from self._surveyed(*asked.popleft())
        while asked:
            yield from self._surveyed(*asked.popleft())

    @property
    def answer_tokens(self) -> AnswerTokens:
        """How the model's vocabulary spells answers. Raises UserError for a server."""
        if not isinstance(self._transport, ByLogits):
            raise UserError("a server does not show its vocabulary")
        return self._transport.tokens

    def _surveyed(self, shown: Sentence, ticket: Ticket[Survey]) -> Iterator[tuple[Sentence, Survey]]:
        try:
            yield shown, ticket.result()
        except SentenceError as error:
            self._notify(f"sentence {shown.id} is not used for fitting: {error}")

    def agreed(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """The sentences of one document made consistent, as `run` leaves them with the doubtful mentions."""
        return self._judge.agreed(sentences)

    def xray(self, text: str) -> XRay:
        """A sentence decision by decision, and what the model writes without the constraint.

        Raises UserError for a model that does not show its logits, SentenceError for a text that is too long.
        """
        self._require_own_process()
        if not isinstance(self._transport, ByLogits):
            raise UserError("an X-ray needs a local model")
        return self._transport.xray(view_of(text, self.settings.view).text)

    def about(self) -> About:
        """What this annotator is, without its model."""
        return About(self.identity(), self.choices(), self._judge)

    def choices(self) -> dict[str, Any]:
        """All that was chosen and can change an answer, as plain data, for the record of a run."""
        return {
            "model": self.backend.description,
            "schema": self.schema.name,
            "schema_hash": self.schema.hash(),
            "prompt": self.prompt.name,
            "prompt_hash": self.prompt.hash(),
            **self._shown_examples(),
            **self.settings.deciding(),
            "lexicon": None if self._prior is None else self._prior.about(),
            "decoder": self._transport.decoder,
            "rule": self._transport.rule,
            "temperature": self.backend.temperature,
            "context_length": self.backend.context_length,
        }

    def identity(self) -> dict[str, Any]:
        """What decides the answers, as plain data: two annotators with the same one write the same."""
        return {
            **self.settings.deciding(),
            "lexicon": None if self._prior is None else self._prior.about()["sha256"],
            "model": self.backend.identity,
            "schema": self.schema.hash(),
            "prompt": self.prompt.hash(),
            "examples": self._shown_examples()["examples_hash"],
            "decoder": self._transport.decoder,
            "rule": self._transport.rule,
            "temperature": self.backend.temperature,
            "context_length": self.backend.context_length,
        }

    def close(self) -> None:
        """Give back the model's memory, after the forward pass that is running."""
        self._transport.close()

    def __enter__(self) -> Annotator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self, annotated: Annotated) -> Sentence:
        if annotated.failure is None:
            return annotated.sentence
        self._notify(f"text {annotated.sentence.id} was not annotated: {annotated.failure}")
        return dataclasses.replace(annotated.sentence, failure=annotated.failure)

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


def _succeeded(annotated: Annotated) -> Sentence:
    if annotated.failure is not None:
        raise SentenceError(f"sentence {annotated.sentence.id}: {annotated.failure}")
    return annotated.sentence
