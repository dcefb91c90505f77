"""Pairs the gold and predicted mentions of a sentence, one to one.

To say what happened to each mention, every gold and every predicted mention must be counted once. Pairs are
made in six rounds, the closest matches first; the mentions left over have no partner:

    1. same spans, name and type: right
    2. same spans and type, another name (gold may spell a name differently from the text at its offsets)
    3. same spans, another type
    4. overlapping, same type: most characters in common first, then the leftmost
    5. overlapping, another type: in the same order
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
    """A gold mention and its predicted partner; at most one of them is None."""

    sentence_id: str
    gold: Mention | None
    predicted: Mention | None


def match(gold: Iterable[tuple[str, Mention]], predicted: Iterable[tuple[str, Mention]]) -> list[Pair]:
    """Pair all mentions. Sentences come in the order of the gold, then those that only predictions have.

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
    """The number of characters that both cover."""
    return sum(max(0, min(a.end, b.end) - max(a.start, b.start)) for a in one.spans for b in other.spans)


def same_name(one: Mention, other: Mention) -> bool:
    """Whether the names are equal; a line break equals a space."""
    return single_line(one.text) == single_line(other.text)


def _by_sentence(mentions: Iterable[tuple[str, Mention]]) -> dict[str, list[Mention]]:
    """Sentence id -> its mentions, sorted, without repetition."""
    unique = {mention_key(sentence_id, mention): (sentence_id, mention) for sentence_id, mention in mentions}
    found: dict[str, list[Mention]] = {}
    for sentence_id, mention in unique.values():
        found.setdefault(sentence_id, []).append(mention)
    for listed in found.values():
        listed.sort(key=lambda m: (m.spans, m.type, m.text))
    return found


def _match_sentence(sentence_id: str, gold: list[Mention], predicted: list[Mention]) -> list[Pair]:
    pairs: list[Pair] = []
    for closeness in _ROUNDS:
        candidates = [
            (-value, i, j)
            for i, g in enumerate(gold)
            for j, p in enumerate(predicted)
            if (value := closeness(g, p)) is not None
        ]
        paired_gold: set[int] = set()
        paired_predicted: set[int] = set()
        for _, i, j in sorted(candidates):
            if i not in paired_gold and j not in paired_predicted:
                pairs.append(Pair(sentence_id, gold[i], predicted[j]))
                paired_gold.add(i)
                paired_predicted.add(j)
        gold = [g for i, g in enumerate(gold) if i not in paired_gold]
        predicted = [p for j, p in enumerate(predicted) if j not in paired_predicted]
    pairs += [Pair(sentence_id, g, None) for g in gold]
    pairs += [Pair(sentence_id, None, p) for p in predicted]
    return sorted(pairs, key=lambda pair: [m.spans for m in (pair.gold, pair.predicted) if m])


def _same(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if _same_spans_and_type(gold, predicted) is not None and same_name(gold, predicted) else None


def _same_spans_and_type(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if gold.spans == predicted.spans and gold.type == predicted.type else None


def _same_spans(gold: Mention, predicted: Mention) -> float | None:
    return 0.0 if gold.spans == predicted.spans else None


def _overlapping(gold: Mention, predicted: Mention) -> float | None:
    return _overlapping_any_type(gold, predicted) if gold.type == predicted.type else None


def _overlapping_any_type(gold: Mention, predicted: Mention) -> float | None:
    return overlap(gold, predicted) or None


def _elsewhere(gold: Mention, predicted: Mention) -> float | None:
    if gold.type != predicted.type or not same_name(gold, predicted):
        return None
    return -abs(gold.start - predicted.start)


_Closeness = Callable[[Mention, Mention], "float | None"]
"""How close a gold and a predicted mention are, higher is closer; None if they do not match."""

_ROUNDS: tuple[_Closeness, ...] = (
    _same,
    _same_spans_and_type,
    _same_spans,
    _overlapping,
    _overlapping_any_type,
    _elsewhere,
)
