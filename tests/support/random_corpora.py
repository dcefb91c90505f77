"""Random gold with predictions that are partly right."""

from __future__ import annotations

import random

from constrained_ner.data import Mention, Sentence, Span

TYPES = ["brand", "drug", "group", "drug_n"]


def random_corpus(seed: int, n_sentences: int = 60) -> tuple[list[Sentence], list[tuple[str, Mention]]]:
    """Sentences of four names each at most, and predictions that are right two times in three."""
    chance = random.Random(seed)
    gold, predicted = [], []
    for n in range(n_sentences):
        mentions = [
            Mention((Span(10 * i, 10 * i + 4),), chance.choice(TYPES), "iron")
            for i in range(chance.randint(0, 4))
        ]
        gold.append(Sentence(f"s{n}", "", tuple(mentions)))
        kept = [m for m in mentions if chance.random() < 0.67]
        wrong = Mention((Span(50, 54),), chance.choice([*TYPES, "unknown"]), "zinc")
        predicted += [(f"s{n}", m) for m in [*kept, *([wrong] if chance.random() < 0.4 else [])]]
    return gold, predicted
