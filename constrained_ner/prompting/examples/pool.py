"""The sentences that may be shown as examples: not empty, and with mentions that tags can express."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...constraint.edges import Boundary
from ...constraint.markup import Markup
from ...data import Document, Sentence


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may be shown, and the id of its document."""

    sentence: Sentence
    document: str

    @property
    def types(self) -> set[str]:
        return {mention.type for mention in self.sentence.mentions}


class Pool:
    """Candidates in the order of their file."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates: Sequence[Candidate] = tuple(candidates)

    @classmethod
    def of(cls, documents: Iterable[Document], markup: Markup, boundary: Boundary = "word") -> Pool:
        """The sentences of the documents that are not empty and have no mention that tags cannot express."""
        return cls(
            Candidate(sentence, document.id)
            for document in documents
            for sentence in document
            if sentence.text.strip() and not markup.expressible(sentence, boundary)[1]
        )

    def restricted(self, ids: Collection[str]) -> Pool:
        """The candidates whose sentences have these ids."""
        return Pool(candidate for candidate in self.candidates if candidate.sentence.id in ids)

    def without_documents(self, documents: Collection[str]) -> Pool:
        """The candidates of other documents than these."""
        return Pool(candidate for candidate in self.candidates if candidate.document not in documents)

    def distinct(self) -> tuple[Pool, tuple[str, ...]]:
        """The pool with each text once, and the ids of those that were kept of contradicting ones.

        Of equal texts with different mentions, the first with the most frequent mentions is kept.
        """
        by_text: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            by_text.setdefault(" ".join(candidate.sentence.text.split()), []).append(candidate)
        kept: list[Candidate] = []
        contradicted: list[str] = []
        for equal in by_text.values():
            readings = Counter(map(_reading, equal))
            usual, _ = readings.most_common(1)[0]
            kept.append(next(candidate for candidate in equal if _reading(candidate) == usual))
            if len(readings) > 1:
                contradicted.append(kept[-1].sentence.id)
        return Pool(kept), tuple(contradicted)

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def n_mentions(self) -> Counter[str]:
        """The number of mentions of each type."""
        return Counter(mention.type for c in self.candidates for mention in c.sentence.mentions)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types that occur, the rarest first."""
        return tuple(sorted(self.n_mentions, key=lambda name: (self.n_mentions[name], name)))

    @cached_property
    def rare_types(self) -> tuple[str, ...]:
        """The types with less than half of the mentions that they would have if all were equally frequent."""
        even = sum(self.n_mentions.values()) / max(1, len(self.types))
        return tuple(name for name in self.types if self.n_mentions[name] < even / 2)

    def hash(self) -> str:
        """`examples_hash` of all candidates."""
        return examples_hash(candidate.sentence for candidate in self.candidates)


def _reading(candidate: Candidate) -> tuple[tuple[str, str], ...]:
    """What a candidate's text is said to contain, whatever its white space."""
    return tuple((mention.type, mention.text) for mention in candidate.sentence.mentions)


def examples_hash(sentences: Iterable[Sentence]) -> str:
    """SHA-256 of ids, texts and mentions, in order."""
    digest = hashlib.sha256()
    for sentence in sentences:
        mentions = [[m.type, m.start, m.end] for m in sentence.mentions]
        digest.update(json.dumps([sentence.id, sentence.text, mentions]).encode() + b"\n")
    return digest.hexdigest()
