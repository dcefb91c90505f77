"""The examples that a run shows: read from their file, kept apart from what is evaluated, and chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..constraint.edges import Boundary
from ..data import Document, Sentence
from ..formats.ddi import read_ddi
from ..prompting.examples.by_similarity import SimilarExamples
from ..prompting.examples.request import ExampleRequest
from ..schema import Schema
from .splits import keep_apart


def chosen_examples(
    request: ExampleRequest,
    evaluated: Sequence[Document],
    evaluated_path: Path,
    schema: Schema,
    boundary: Boundary = "word",
) -> list[Sentence] | SimilarExamples:
    """Read the examples file of a request and choose from it what is not evaluated.

    Raises InputError if the file contains what is evaluated, or cannot give what is requested.
    """
    documents = read_ddi(request.examples)
    usable = keep_apart(
        [sentence for document in documents for sentence in document],
        (sentence for document in evaluated for sentence in document),
        used_path=request.examples,
        evaluated_path=evaluated_path,
        purpose="examples",
    )
    return request.choose(documents, {sentence.id for sentence in usable}, evaluated, schema, boundary)
