"""Gold and predicted mentions of a sentence in pairs, one to one.

Everything that asks "what happened to this mention?" needs each gold and each predicted mention to be counted
once. Pairs are made in six rounds, the closest resemblance first; what is left over has no partner:

    1. same spans, name and type: right
    2. same spans and type, another name (gold may spell a name otherwise than the text at its offsets)
    3. same spans, another type
    4. overlapping, same type: most characters in common first, then the leftmost
    5. overlapping, another type: likewise
    6. same name and type elsewhere in the sentence, nearest first

Repeated mentions count once, as in the official evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..data import Mention, single_line
from .official import mention_key


@dataclass(frozen=True, slots=True)
class Pair:
    """A gold mention and the predicted one that goes with it; one of them may be None, not both."""

    sentence_id: str
    gold: Mention | None
    predicted: Mention | None


_Measure = Callable[[Mention, Mention], "float | None"]
"""How well a gold and a predicted mention go together, higher is better; None where they do not."""


def match(gold: Iterable[tuple[str, Mention]], predicted: Iterable[tuple[str, Mention]]) -> list[Pair]:
    """All mentions in pairs, by sentence in the order of the gold, then those of predictions alone.

    Both are pairs of sentence id and mention, in any order.
    """
    gold_by_sentence, predicted_by_sentence = _by_sentence(gold), _by_sentence(predicted)
    return [
        pair
        for sentence_id in dict.fromkeys([*gold_by_sentence, *predicted_by_sentence])
        for pair in _match_sentence(
            sentence_id, gold_by_sentence.get(sentence_id, []), predicted_by_sentence.get(sentence_id, [])
        )
    ]


def overlap(one: Mention, other: Mention) -> int:
    """Characters that both cover."""
    return sum(max(0, min(a.end, b.end) - max(a.start, b.start)) for a in one.spans for b in other.spans)


def same_name(one: Mention, other: Mention) -> bool:
    """Whether the names are equal; a line break and a space are."""
    return single_line(one.text) == single_line(other.text)


def _by_sentence(mentions: Iterable[tuple[str, Mention]]) -> dict[str, list[Mention]]:
    """Sentence id -> its mentions, sorted, without repetitions."""
    unique = {mention_key(sentence_id, mention): (sentence_id, mention) for sentence_id, mention in mentions}
    found: dict[str, list[Mention]] = {}
    for sentence_id, mention in unique.values():
        found.setdefault(sentence_id, []).append(mention)
    for listed in found.values():
        listed.sort(key=lambda m: (m.spans, m.type, m.text))
    return found


def _match_sentence(sentence_id: str, gold: list[Mention], predicted: list[Mention]) -> list[Pair]:
    pairs: list[Pair] = []
    gold, predicted = list(gold), list(predicted)
    for measure in (_same, _same_place, _same_spans, _overlapping, _overlapping_other_type, _elsewhere):
        candidates = [
            (-value, i, j)
            for i, g in enumerate(gold)
            for j, p in enumerate(predicted)
            if (value := measure(g, p)) is not None
        ]
        gone: tuple[set[int], set[int]] = (set(), set())
        for _, i, j in sorted(candidates):
            if i not in gone[0] and j not in gone[1]:
                pairs.append(Pair(sentence_id, gold[i], predicted[j]))
                gone[0].add(i)
                gone[1].add(j)
        gold = [g for i, g in enumerate(gold) if i not in gone[0]]
        predicted = [p for j, p in enumerate(predicted) if j not in gone[1]]
    pairs += [Pair(sentence_id, g, None) for g in gold]
    pairs += [Pair(sentence_id, None, p) for p in predicted]
    return sorted(pairs, key=lambda pair: [m.spans for m in (pair.gold, pair.predicted) if m])


def _same(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if _same_place(gold, predicted) is not None and same_name(gold, predicted) else None


def _same_place(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if gold.spans == predicted.spans and gold.type == predicted.type else None


def _same_spans(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if gold.spans == predicted.spans else None


def _overlapping(gold: Mention, predicted: Mention) -> float | None:
    return _overlapping_other_type(gold, predicted) if gold.type == predicted.type else None


def _overlapping_other_type(gold: Mention, predicted: Mention) -> float | None:
    return overlap(gold, predicted) or None


def _elsewhere(gold: Mention, predicted: Mention) -> float | None:
    if gold.type != predicted.type or not same_name(gold, predicted):
        return None
    return -abs(gold.start - predicted.start)
