"""What a peer's answers are worth: the same evaluation for all of them.

A name counts where its peer puts it, with the text that stands there; one without a place counts nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seam import Answer, Name

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.evaluation import evaluate


@dataclass(frozen=True, slots=True)
class Figures:
    """typed, untyped: F1, in percent. found: places with a name.

    misplaced: names whose text is not what stands at their offsets. absent: names that the sentence does not
    have as they are written. lost: answers of which nothing, or not all, could be used.
    """

    typed: float
    untyped: float
    found: int
    misplaced: int
    absent: int
    lost: int


def figures(gold: Sequence[Sentence], answers: Sequence[Answer]) -> Figures:
    """Raises ValueError for answers that are not those of the sentences, in their order."""
    if [s.id for s in gold] != [a.id for a in answers]:
        raise ValueError(f"{len(answers)} answers for {len(gold)} sentences, or in another order")
    predicted = [
        (sentence.id, mention)
        for sentence, answer in zip(gold, answers, strict=True)
        for mention in _mentions(sentence.text, answer.names)
    ]
    evaluation = evaluate([(s.id, m) for s in gold for m in s.mentions], predicted)
    names = [(s.text, name) for s, a in zip(gold, answers, strict=True) for name in a.names]
    return Figures(
        typed=100 * evaluation.micro.f1,
        untyped=100 * evaluation.no_class.f1,
        found=len(predicted),
        misplaced=sum(_is_misplaced(text, name) for text, name in names),
        absent=sum(name.text is None or name.text not in text for text, name in names),
        lost=sum(answer.lost is not None for answer in answers),
    )


def _mentions(text: str, names: Sequence[Name]) -> list[Mention]:
    found = []
    for name in names:
        if name.start is not None and name.end is not None and 0 <= name.start < name.end <= len(text):
            covered = text[name.start : name.end]
            found.append(Mention((Span(name.start, name.end),), name.type, covered))
    return found


def _is_misplaced(text: str, name: Name) -> bool:
    if name.start is None or name.end is None or name.text is None:
        return False
    return text[name.start : name.end] != name.text
