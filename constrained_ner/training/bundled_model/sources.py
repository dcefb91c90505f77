"""The examples of a stage: an endless supply in chunks, each drawn from its own seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from ...data import Mention, Sentence, Span
from ...errors import InputError
from ...schema import DDI
from ..batches import Example
from .copying import Curriculum, random_copies
from .corpus import Corpus
from .soft_targets import soft_example
from .tokenizer import CHEMICAL, SEPARATOR, ModelTokenizer


class Source(Protocol):
    """Supplies the examples of one stage. `state` is all that a resumed run must restore."""

    state: dict[str, Any]

    def chunk(self, n_tokens: int, rng: np.random.Generator) -> list[Example]: ...

    def learnt(self, loss: float) -> None:
        """Take note of the mean loss over the answer, after each chunk."""
        ...


class Copying:
    """Random strings to copy, as long as the curriculum says."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        self.tokenizer = tokenizer
        self.state: dict[str, Any] = {"length": Curriculum().length}

    def chunk(self, n_tokens: int, rng: np.random.Generator) -> list[Example]:
        length = self.state["length"]
        return _copies(self.tokenizer, int(n_tokens / (1.8 * length)) + 1, length, rng)

    def learnt(self, loss: float) -> None:
        self.state["length"] = Curriculum(self.state["length"]).after(loss).length


@dataclass(frozen=True)
class Share:
    """A part of a mixture: how often it is drawn from, and how to make an example."""

    weight: float
    draw: Callable[[np.random.Generator], Example]


class Mixture:
    """Sentences of several kinds, drawn with replacement.

    A sentence with names that no legal answer can mark is passed over. `chunk` raises InputError if these are
    most of them.
    """

    MOST_PASSED_OVER = 100
    """So many in a chunk are no sign that something is wrong, even if no sentence could be written."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self.shares = shares
        self.state: dict[str, Any] = {}

    def chunk(self, n_tokens: int, rng: np.random.Generator) -> list[Example]:
        weights = np.array([s.weight for s in self.shares])
        examples: list[Example] = []
        n_drawn = n_passed_over = 0
        while n_drawn < n_tokens:
            share = self.shares[rng.choice(len(weights), p=weights / weights.sum())]
            try:
                example = share.draw(rng)
            except ValueError as error:
                n_passed_over += 1
                if n_passed_over > max(self.MOST_PASSED_OVER, len(examples)):
                    raise InputError(f"most sentences to learn from cannot be written: {error}") from None
                continue
            examples.append(example)
            n_drawn += len(example.ids)
        return examples

    def learnt(self, loss: float) -> None:
        pass


def mixture(
    tokenizer: ModelTokenizer,
    corpus: Corpus,
    *,
    gold: float,
    tagged: float,
    chemical: float,
    swapped: float,
    copies: float = 0.0,
    listed: float = 0.0,
    rare: float = 0.0,
    marked: float = 0.0,
) -> Mixture:
    """Mix gold, text tagged by the lexicon, chemicals, random strings and lists of names, by weight.

    marked: text with a teacher's probabilities (see `soft_targets`).
    swapped: share of the gold and of the tagged sentences that get other names.
    rare: how much more often to draw gold sentences with the rarest type; 1 means twice as often.
    """
    n_mentions = Counter(m.type for s in corpus.gold for m in s.mentions)
    rarest = min(n_mentions, key=lambda kind: (n_mentions[kind], kind), default=None)
    with_rarest = [s for s in corpus.gold if any(m.type == rarest for m in s.mentions)]
    rare_share = rare * len(with_rarest) / max(1.0, len(corpus.gold) + rare * len(with_rarest))
    ddi, other = tokenizer.target_writer(DDI), tokenizer.target_writer(CHEMICAL)

    def write(sentence: Sentence, rng: np.random.Generator) -> Example:
        return ddi.write(corpus.swapper.swap(sentence, rng) if rng.random() < swapped else sentence)

    def draw_gold(rng: np.random.Generator) -> Example:
        return write(_any(with_rarest if rng.random() < rare_share else corpus.gold, rng), rng)

    def draw_copy(rng: np.random.Generator) -> Example:
        return _copies(tokenizer, 1, float(rng.integers(6, 50)), rng)[0]

    return Mixture(
        [
            Share(gold, draw_gold),
            Share(tagged, lambda rng: write(_any(corpus.tagged, rng), rng)),
            Share(chemical, lambda rng: other.write(_any(corpus.chemical, rng))),
            Share(copies, draw_copy),
            Share(listed, lambda rng: ddi.write(list_names(corpus.listed, rng))),
            Share(marked, lambda rng: soft_example(_any(corpus.marked, rng), ddi)),
        ]
    )


def list_names(names: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Sentence:
    """Make a list of names. There is no context, so the model has to know the names themselves.

    names: entity type -> names. Types with few names are drawn more often than in proportion.
    Raises InputError without any.
    """
    if not names:
        raise InputError("no names to make lists of: is the lexicon empty?")
    kinds = sorted(names)
    weights = np.sqrt([len(names[kind]) for kind in kinds])
    parts: list[str] = []
    mentions: list[Mention] = []
    start = 0
    for _ in range(rng.integers(2, 9)):
        kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        name = names[kind][int(rng.integers(len(names[kind])))]
        if kind != "brand" and rng.random() < 0.5 and not name[:2].isupper():
            name = name[0].lower() + name[1:]
        mentions.append(Mention((Span(start, start + len(name)),), kind, name))
        parts += [name, (", ", "; ", " and ", " ")[rng.choice(4, p=(0.7, 0.1, 0.1, 0.1))]]
        start += len(name) + len(parts[-1])
    return Sentence("list", "".join(parts[:-1]), tuple(mentions))


T = TypeVar("T")


def _any(some: Sequence[T], rng: np.random.Generator) -> T:
    if not some:
        raise InputError("a part of the training data has no sentence to draw")
    return some[int(rng.integers(len(some)))]


def _copies(tokenizer: ModelTokenizer, n: int, length: float, rng: np.random.Generator) -> list[Example]:
    return random_copies(
        n,
        length,
        n_text_tokens=tokenizer.n_text_tokens,
        separator=tokenizer.control(SEPARATOR),
        end=tokenizer.end,
        tags=tokenizer.tags(DDI),
        rng=rng,
    )
