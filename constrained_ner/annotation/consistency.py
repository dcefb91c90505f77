"""One type for each name in a document: what the model finds in one sentence counts in the others.

One sentence often does not tell what a name is; the sentences around it do. In DDI train, 99 % of the names
that recur in a document have one type there, and 98 % of their other occurrences are annotated, too. So each
name gets one type in a document, and is a mention everywhere in it or nowhere:

    type         the one with the largest sum of confidences
    confidence   the mean over all occurrences that no other mention overlaps; an occurrence that the model
                 left unmarked counts as a quarter, because the model was less than half sure of it
    marked       at every occurrence if it is worth keeping (see `confidence`), otherwise nowhere

Names that may be ordinary words ("NO", "by", "K"; see `lexicon.may_be_word`) do not spread: one that is worth
keeping stays where the model found it, with the confidence that it had there.

Sources of the idea: Gale et al. 1992, "One sense per discourse"; Krishnan and Manning 2006, "An effective
two-stage model for exploiting non-local dependencies in named entity recognition".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from ..data import Mention, Sentence
from ..decoding.confidence import WORTH_KEEPING
from .lexicon import Key, Lexicon, key_of, may_be_word

UNMARKED = 0.25
"""What an occurrence that the model left unmarked counts as: the middle between 0 and one half."""

Fits = Callable[[Sentence], Iterable[Mention]]
"""The mentions of a sentence that tags can express."""


@dataclass
class _Name:
    """What the sentences of a document say about one name."""

    by_type: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    n_marked: int = 0
    n_unmarked: int = 0

    @property
    def type(self) -> str:
        """The most confident type; of equals, the first in the alphabet."""
        return min(self.by_type, key=lambda name: (-self.by_type[name], name))

    @property
    def confidence(self) -> float:
        total = sum(self.by_type.values()) + UNMARKED * self.n_unmarked
        return min(1.0, total / (self.n_marked + self.n_unmarked))

    @property
    def stays(self) -> bool:
        """Whether it is worth keeping. A name that is marked at every occurrence stays."""
        return not self.n_unmarked or self.confidence >= WORTH_KEEPING


def consistent(sentences: Sequence[Sentence], fits: Fits, *, min_confidence: float = 0.0) -> list[Sentence]:
    """The sentences of one document, with each name marked everywhere with one type, or nowhere.

    sentences: with every mention that the model found, however unsure. A mention without confidence counts as
        certain.
    min_confidence: drop names whose confidence in the document is lower.
    Added mentions have the provenance `repeated`. Discontinuous mentions stay as they are.
    """
    names: defaultdict[Key, _Name] = defaultdict(_Name)
    for sentence in sentences:
        for mention in filter(_counts, sentence.mentions):
            name = names[key_of(mention.text)]
            name.by_type[mention.type] += 1.0 if mention.confidence is None else mention.confidence
            name.n_marked += 1
    lexicon = Lexicon({key: name.type for key, name in names.items()})
    unmarked = [_unmarked(sentence, lexicon, fits) for sentence in sentences]
    for places in unmarked:
        for mention in places:
            names[key_of(mention.text)].n_unmarked += 1

    def settle(mentions: Iterable[Mention]) -> Iterable[Mention]:
        for mention in mentions:
            if not _counts(mention):
                yield mention
                continue
            key = key_of(mention.text)
            name = names[key]
            confidence = mention.confidence if may_be_word(key) else name.confidence
            if name.stays and (confidence is None or confidence >= min_confidence):
                yield replace(mention, type=name.type, confidence=confidence)

    spread = [[m for m in places if not may_be_word(key_of(m.text))] for places in unmarked]
    return [
        sentence.with_mentions(settle((*sentence.mentions, *places)))
        for sentence, places in zip(sentences, spread, strict=True)
    ]


def _counts(mention: Mention) -> bool:
    return not mention.discontinuous and bool(key_of(mention.text))


def _begins_with_a_word(text: str, found: Mention) -> bool:
    """Whether this is the capital of a sentence's first word, not a name such as "As" or "In"."""
    return found.text.istitle() and may_be_word(key_of(found.text)) and not text[: found.start].strip()


def _unmarked(sentence: Sentence, lexicon: Lexicon, fits: Fits) -> list[Mention]:
    """The unmarked occurrences in a sentence of the names of the document."""
    marked = sorted((m.start, m.end) for m in sentence.mentions)
    starts = [start for start, _ in marked]
    ends = [0, *accumulate((end for _, end in marked), max)]  # the last end of the first n mentions
    free = [
        replace(found, provenance="repeated")
        for found in lexicon.tag(sentence.text)
        if ends[bisect_left(starts, found.end)] <= found.start
        and not _begins_with_a_word(sentence.text, found)
    ]
    return list(fits(sentence.with_mentions(free)))
