"""A request for examples -> the examples, from documents that the caller has read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Document, Sentence
from ...errors import InputError, UserError
from ...schema import Schema
from .by_similarity import SimilarExamples
from .fixed import diverse, find_picked, first, random, read_picked
from .pool import Pool

_TOKENS_PER_CHARACTER = 0.8  # of an example, whose text is written twice, once with tags

Examples = list[Sentence] | SimilarExamples
"""The same for every sentence, the most useful first; or those that are most similar to each."""


@dataclass(frozen=True, slots=True)
class _Selection:
    """What a way to select may use: n examples of the pool are wanted, for the evaluated documents."""

    pool: Pool
    n: int
    seed: int
    evaluated: Sequence[Document]


SELECTIONS: Mapping[str, Callable[[_Selection], Examples]] = {
    "first": lambda wanted: first(wanted.pool, wanted.n),
    "random": lambda wanted: random(wanted.pool, wanted.n, wanted.seed),
    "diverse": lambda wanted: diverse(wanted.pool, wanted.n, wanted.seed),
    "similar": lambda wanted: SimilarExamples(wanted.pool, wanted.n, wanted.evaluated),
}
"""The ways to select, by the name that --select takes (or else it takes a file that lists sentence ids)."""


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """Which examples are wanted.

    examples: the file that they come from, for messages and the record.
    n: how many; None for as many as `select` lists.
    select: one of SELECTIONS, or the path of a file that lists sentence ids.
    """

    examples: Path
    n: int | None
    select: str = "diverse"
    seed: int = 0

    @classmethod
    def wanted(cls, n: int | None, examples: Path | None, select: str, seed: int) -> ExampleRequest | None:
        """The request that a command line makes; None if it asks for no examples. Raises UserError."""
        if n == 0 or (n is None and examples is None and select in SELECTIONS):
            return None
        if examples is None:
            raise UserError("--shots needs examples: name a file with --examples")
        return cls(examples, n, select, seed)

    def record(self) -> dict[str, Any]:
        """The entries of the run record."""
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
        self,
        documents: Sequence[Document],
        usable: Collection[str],
        evaluated: Sequence[Document],
        schema: Schema,
        boundary: Boundary = "word",
        say: Callable[[str], None] | None = None,
    ) -> Examples:
        """Choose examples among the sentences of `documents`, equal texts once, unless they are listed by id.

        usable: ids of the sentences that may be used: those that do not occur in what is evaluated.
        evaluated: the documents that are to be annotated. say: called if equal texts contradict one another.
        Raises InputError for what the documents or the list of ids cannot give.
        """
        by_name = SELECTIONS.get(self.select)
        if by_name is None and not Path(self.select).is_file():
            names = ", ".join(SELECTIONS)
            raise InputError(f"--select {self.select}: no such file: name a file of sentence ids, or {names}")
        pool = self._pool(documents, usable, Markup(schema), boundary)
        if by_name is None:
            return self._hand_picked(pool, documents)
        pool, contradicted = pool.distinct()
        if contradicted and say is not None:
            say(
                f"{self.examples}: texts that occur several times with different entities: "
                f"{len(contradicted)}, for instance that of sentence {contradicted[0]}: the most frequent "
                "reading is used"
            )
        n_sentences = sum(len(document.sentences) for document in documents)
        return by_name(_Selection(pool, self._n_wanted(len(pool), n_sentences), self.seed, evaluated))

    def _pool(
        self, documents: Sequence[Document], usable: Collection[str], markup: Markup, boundary: Boundary
    ) -> Pool:
        if not any(sentence.mentions for document in documents for sentence in document):
            raise InputError(f"{self.examples}: no sentence has entities, so none can be an example")
        pool = Pool.of(documents, markup, boundary).restricted(usable)
        if not pool.types:
            names = ", ".join(markup.types)
            raise InputError(f"{self.examples}: no example has entities of the schema's types ({names})")
        return pool

    def _hand_picked(self, pool: Pool, documents: Sequence[Document]) -> list[Sentence]:
        path = Path(self.select)
        listed = read_picked(path)
        if self.n is not None and self.n > len(listed):
            raise InputError(f"{path}: lists {len(listed)} sentences, but --shots asks for {self.n}")
        every = (sentence for document in documents for sentence in document)
        return find_picked(listed, pool, every, path, self.examples)[: self.n]

    def _n_wanted(self, n_usable: int, n_sentences: int) -> int:
        if self.n is None:
            raise InputError(f"{self.examples}: say how many examples you want, with --shots")
        if self.n > n_usable:
            raise InputError(
                f"{self.examples}: --shots asks for {self.n} examples, but only {n_usable} of the file's "
                f"{n_sentences} sentences can be one"
            )
        return self.n
