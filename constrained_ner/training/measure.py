"""Mentions that a model in training finds, through the decoder and the back end that will run it later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ..annotation.annotator import Annotator
from ..backends.transformers.backend import TransformersBackend
from ..backends.transformers.model import LoadedModel
from ..constraint.answer_form import AnswerName
from ..data import Sentence
from ..evaluation import Evaluation, evaluate
from ..prompting.wording import PromptFile
from ..schema import DDI, Schema


def find_mentions(
    loaded: LoadedModel,
    sentences: Iterable[Sentence],
    *,
    schema: Schema = DDI,
    prompt: PromptFile | None = None,
    batch: int,
    answer: AnswerName = "tags",
    occurrences: bool = False,
) -> list[Sentence]:
    """Annotate the sentences as `bin/llm-NERC` would, `batch` of them at a time.

    The model runs in evaluation mode, and uncompiled: its cache is not one that torch.compile knows.
    """
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        backend = TransformersBackend.around(loaded, batch=batch)
        with (
            torch.compiler.set_stance("force_eager"),
            Annotator(
                backend, schema=schema, prompt=prompt, answer=answer, occurrences=occurrences or None
            ) as annotator,
        ):
            return [annotated.sentence for annotated in annotator.run(sentences)]
    finally:
        loaded.model.train(was_training)


def score(gold: Sequence[Sentence], found: Iterable[Sentence]) -> Evaluation:
    """Score exact spans and types against the gold sentences."""
    return evaluate(
        [(s.id, m) for s in gold for m in s.mentions], [(s.id, m) for s in found for m in s.mentions]
    )
