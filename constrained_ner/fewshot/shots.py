"""What was asked for -> examples, checked against what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..corpora.ddi import read_ddi
from ..data import Document, Sentence
from ..edges import Boundary
from ..errors import InputError
from ..markup import Markup
from ..protocol import keep_apart
from ..schema import Schema
from .choosing import diverse, first, picked, random, read_picked
from .pool import Pool
from .similar import SimilarExamples

SELECTIONS = ("first", "random", "diverse", "similar")


class Chooser(Protocol):
    """Chooses examples for the text of a question, the most useful last."""

    def __call__(self, question: str) -> Sequence[Sentence]: ...

    def hash(self) -> str:
        """SHA-256 over all that decides what is chosen, for a run's record."""


@dataclass(frozen=True, slots=True)
class Shots:
    """What was asked for: n sentences of a file, chosen by one of SELECTIONS, or those that a file lists.

    n: None for as many as the file lists.
    """

    examples: Path
    n: int | None
    select: str = "diverse"
    seed: int = 0

    def choose(
        self, evaluated: Sequence[Document], evaluated_path: Path, schema: Schema, boundary: Boundary = "word"
    ) -> list[Sentence] | Chooser:
        """The same examples for every sentence, the most useful first; or, for `similar`, a Chooser.

        evaluated: the documents whose sentences are to be annotated. Raises InputError where their sentences
        are asked for as examples, and for what the examples file or the list cannot give.
        """
        if self.select not in SELECTIONS and not Path(self.select).is_file():
            names = ", ".join(SELECTIONS)
            raise InputError(f"{self.select}: no such way to select: neither a file nor one of {names}")
        documents = list(read_ddi(self.examples))
        pool = self._pool(documents, evaluated, evaluated_path, Markup(schema), boundary)
        n = self._n_wanted(len(pool), sum(len(document.sentences) for document in documents))
        if self.select == "first":
            return first(pool, n)
        if self.select == "random":
            return random(pool, n, self.seed)
        if self.select == "diverse":
            return diverse(pool, n, self.seed)
        if self.select == "similar":
            return SimilarExamples(pool, n, evaluated)
        every = (sentence for document in documents for sentence in document)
        return picked(Path(self.select), pool, every, self.examples)[:n]

    def _pool(
        self,
        documents: Sequence[Document],
        evaluated: Iterable[Document],
        evaluated_path: Path,
        markup: Markup,
        boundary: Boundary,
    ) -> Pool:
        sentences = [sentence for document in documents for sentence in document]
        if not any(sentence.mentions for sentence in sentences):
            raise InputError(f"{self.examples}: no sentence has entities, so none can be an example")
        apart = keep_apart(
            sentences,
            (sentence for document in evaluated for sentence in document),
            used_path=self.examples,
            evaluated_path=evaluated_path,
            purpose="examples",
        )
        kept = {sentence.id for sentence in apart}
        pool = Pool.of(documents, markup, boundary).restricted(kept)
        if not pool.types:
            names = ", ".join(markup.types)
            raise InputError(f"{self.examples}: no example has entities of the schema's types ({names})")
        return pool

    def _n_wanted(self, n_usable: int, n_sentences: int) -> int:
        if self.select not in SELECTIONS:
            n_listed = len(read_picked(Path(self.select)))
            if self.n is not None and self.n > n_listed:
                raise InputError(f"{self.select}: lists {n_listed} sentences, but {self.n} are asked for")
            return n_listed if self.n is None else self.n
        if self.n is None:
            raise InputError(f"{self.examples}: say how many examples, with --shots")
        if self.n > n_usable:
            raise InputError(
                f"{self.examples}: {self.n} examples are asked for, but only {n_usable} of its {n_sentences} "
                "sentences can be one"
            )
        return self.n
