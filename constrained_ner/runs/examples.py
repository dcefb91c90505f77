"""The examples that a run shows: read from their file, kept apart from what is evaluated, and chosen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..adapters import AdapterCard
from ..annotation.settings import Settings
from ..backends.cache_size import cache_note
from ..constraint.edges import Boundary
from ..data import Document, Sentence
from ..prompting.examples.by_similarity import SimilarExamples
from ..prompting.examples.request import ExampleRequest
from ..schema import DDI, Schema
from ..text.corpus import read_labelled
from .splits import keep_apart


def with_examples(
    settings: Settings,
    evaluated: Callable[[], Sequence[Document]],
    evaluated_path: Path,
    notify: Callable[[str], None],
    types: Mapping[str, str] | None = None,
) -> Settings:
    """The settings with the examples themselves instead of the file that they come from.

    evaluated: the documents that are annotated, asked for only if there are examples to keep apart. types:
    what the examples call a type -> what we call it. notify: called with what was decided, and if the
    examples need a lot of memory or contradict one another.
    Raises UserError for a request that makes no sense.
    """
    if settings.examples is not None and not isinstance(settings.examples, Path):
        return settings
    request = ExampleRequest.wanted(settings.shots, settings.examples, settings.select, settings.seed)
    if request is None:
        return replace(settings, examples=None)
    card = AdapterCard.load(settings.adapter) if settings.adapter else None
    schema = settings.read_schema() or (card.entity_schema if card else DDI)
    chosen = chosen_examples(request, evaluated(), evaluated_path, schema, settings.boundary, notify, types)
    if settings.model:
        note = cache_note(settings.model, request.n_tokens(chosen), on_cpu=settings.device != "cuda")
        if note:
            notify(note)
    return replace(settings, examples=chosen)


def chosen_examples(
    request: ExampleRequest,
    evaluated: Sequence[Document],
    evaluated_path: Path,
    schema: Schema,
    boundary: Boundary = "word",
    notify: Callable[[str], None] = warnings.warn,
    types: Mapping[str, str] | None = None,
) -> list[Sentence] | SimilarExamples:
    """Read the examples file of a request and choose from it what is not evaluated.

    Raises InputError if the file contains what is evaluated, or cannot give what is requested.
    """
    documents = read_labelled(request.examples, notify=notify, types=types)
    usable = keep_apart(
        [sentence for document in documents for sentence in document],
        (sentence for document in evaluated for sentence in document),
        used_path=request.examples,
        evaluated_path=evaluated_path,
        purpose="examples",
    )
    ids = {sentence.id for sentence in usable}
    return request.choose(documents, ids, evaluated, schema, boundary, notify)
