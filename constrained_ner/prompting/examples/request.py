"""What was asked for -> examples, checked against what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Document, Sentence
from ...errors import InputError, UserError
from ...formats.ddi import read_ddi
from ...runs.splits import keep_apart
from ...schema import Schema
from .by_similarity import SimilarExamples
from .fixed import diverse, first, picked, random, read_picked
from .pool import Pool

_TOKENS_PER_CHARACTER = 0.8  # of an example, which stands there twice, once with tags

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

    @classmethod
    def wanted(cls, n: int | None, examples: Path | None, select: str, seed: int) -> Shots | None:
        """What a command line asks for; None if that is no examples. UserError where it makes no sense."""
        if n == 0 or (n is None and examples is None and select in SELECTIONS):
            return None
        if examples is None:
            raise UserError("--shots: examples have to come from somewhere: name a file with --examples")
        return cls(examples, n, select, seed)

    def record(self) -> dict[str, Any]:
        """What a run's record says of it."""
        return {"shots": self.n, "select": self.select, "seed": self.seed, "examples": str(self.examples)}

    def n_tokens(self, chosen: Sequence[Sentence] | SimilarExamples) -> int:
        """About how many tokens the chosen examples take, before there is a tokenizer to count them."""
        if isinstance(chosen, SimilarExamples):
            lengths = [len(candidate.sentence.text) for candidate in chosen.pool.candidates]
            n_characters = chosen.n * sum(lengths) / len(lengths)
        else:
            n_characters = sum(len(sentence.text) for sentence in chosen)
        return round(n_characters * _TOKENS_PER_CHARACTER)

    def choose(
        self, evaluated: Sequence[Document], evaluated_path: Path, schema: Schema, boundary: Boundary = "word"
    ) -> list[Sentence] | SimilarExamples:
        """The same examples for every sentence, the most useful first; or those that are similar to each.

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
