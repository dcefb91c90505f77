"""The sentences that are most similar to each question.

Similarity is the mean of two cosines of TF-IDF vectors: over words and pairs of words, and over character
n-grams within words (3 to 5), which make `ketoconazole` similar to `itraconazole`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...data import Document, Sentence
from ...errors import MissingExtraError
from .fixed import quota
from .pool import Pool

NEAR_DUPLICATE = 0.9
"""From this similarity on, a sentence repeats the question: they differ in a comma or in one word."""

_N_BLOCK = 256  # questions whose similarities to all candidates are computed at once


class SimilarExamples:
    """For each question, the n nearest sentences of a pool; the most similar one is last, next to it.

    No sentence is from the question's document, or a near-duplicate of the question. Each rare type has a
    quota, which the nearest sentences that show it fill; the quotas take at most half of the n places.
    documents: those of the questions, if they are known beforehand. Only then can sentences of a question's
    own document be left out, and many questions be looked up at once.
    """

    def __init__(self, pool: Pool, n: int, documents: Iterable[Document] = ()) -> None:
        try:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.pipeline import FeatureUnion
        except ImportError:
            raise MissingExtraError("scikit-learn", "fewshot") from None
        self.pool, self.n = pool, n
        common = {"sublinear_tf": True, "dtype": np.float32}
        words = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), **common)
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), **common)
        self._vectorizer = FeatureUnion([("words", words), ("characters", characters)])
        vectors = self._vectorizer.fit_transform([c.sentence.text for c in pool.candidates])
        self._by_feature = vectors.T.tocsr() * np.float32(0.5)  # each of the two parts has length one
        self._document_of = np.array([c.document for c in pool.candidates], dtype=object)
        self._shows = {name: np.array([name in c.types for c in pool.candidates]) for name in pool.rare_types}
        self._quotas = _rare_quotas(pool, n)
        documents_of: dict[str, set[str]] = {}  # a question's text -> ids of the documents that contain it
        for document in documents:
            for sentence in document:
                documents_of.setdefault(sentence.text, set()).add(document.id)
        self._documents_of = documents_of
        self._places = {text: at for at, text in enumerate(documents_of)}
        self._chosen: dict[str, list[Sentence]] = {}

    def __call__(self, question: str) -> Sequence[Sentence]:
        """The examples for a question, the most similar last; fewer than n if no others are allowed."""
        if question not in self._places:
            return next(self._nearest({question: set()}))
        if question not in self._chosen:
            start = self._places[question]
            block = dict(islice(self._documents_of.items(), start, start + _N_BLOCK))
            self._chosen.update(zip(block, self._nearest(block), strict=True))
        return self._chosen[question]

    def hash(self) -> str:
        """SHA-256 of everything that decides which examples a question gets."""
        decisive = [self.pool.hash(), self.n, self._quotas, NEAR_DUPLICATE]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    def _nearest(self, questions: Mapping[str, Collection[str]]) -> Iterator[list[Sentence]]:
        """The examples of each question. questions: text -> ids of its documents, if they are known."""
        vectors = self._vectorizer.transform(list(questions))
        similarities = (vectors.tocsr() @ self._by_feature).toarray()
        for documents, row in zip(questions.values(), similarities, strict=True):
            allowed = row < NEAR_DUPLICATE
            for document in documents:
                allowed &= self._document_of != document
            order = np.argsort(-row, kind="stable")
            chosen = self._with_quotas(order[allowed[order]])
            chosen.sort(key=lambda at: (row[at], -at))
            yield [self.pool.candidates[at].sentence for at in chosen]

    def _with_quotas(self, order: NDArray[np.intp]) -> list[int]:
        """The first n candidates of the order, after the quotas of the rare types have been filled."""
        reserved: list[int] = []
        for name, n_wanted in self._quotas.items():
            reserved += order[self._shows[name][order]][:n_wanted].tolist()
        chosen = list(dict.fromkeys(reserved))
        chosen += [at for at in order[: self.n].tolist() if at not in chosen]
        return chosen[: self.n]


def _rare_quotas(pool: Pool, n: int) -> dict[str, int]:
    """How many of n examples should show each of the rare types: at most half of them in all."""
    quotas: dict[str, int] = {}
    for name in pool.rare_types:
        quotas[name] = min(quota(n, len(pool.types)), n // 2 - sum(quotas.values()))
    return quotas
