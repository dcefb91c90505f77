"""Confidence from the probabilities that a server reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from constrained_ner.annotation.reported import with_confidence
from constrained_ner.backends.protocol import ReportedToken
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Span
from constrained_ner.schema import DDI

CONSTRAINT = Constraint("Give iron.", TagMachine(Markup(DDI)))
IRON = Mention((Span(5, 9),), "drug", "iron")
REST = (
    ("<", 0.6),
    ("drug", 0.8),
    (">", 1.0),
    ("iron", 0.9),
    ("</", 0.7),
    ("drug", 1.0),
    (">", 1.0),
    (".", 1.0),
)


def reported(token: str, probability: float, **others: float) -> ReportedToken:
    likeliest = {token: probability, **others}
    return ReportedToken(
        token.encode(),
        math.log(probability),
        tuple((t.encode(), math.log(p)) for t, p in likeliest.items() if p > 0),
    )


def answer(*, opening: dict[str, float], others: Sequence[tuple[str, float]] = REST) -> list[ReportedToken]:
    """Give <drug>iron</drug>. with these alternatives to the token that opens the tag."""
    (first, probability), *rest = others
    tokens = [reported("Give", 0.5, Take=0.5), reported(" ", 1.0), reported(first, probability, **opening)]
    return [*tokens, *(reported(token, p) for token, p in rest), reported("<|im_end|>", 1.0)]


def test_only_legal_alternatives_count() -> None:
    """Sure of each token but for its rivals: "iron" and "ir" go on copying, "Iron" and "<b" are no way on."""
    tokens = answer(opening={"iron": 0.2, "ir": 0.1, "Iron": 0.1})
    others = [(token, 1.0) for token, _ in REST[1:]]
    tokens = answer(opening={"iron": 0.2, "ir": 0.1, "Iron": 0.1}, others=[REST[0], *others])
    (mention,) = with_confidence([IRON], CONSTRAINT, tokens)
    assert mention.confidence == pytest.approx(0.6 / 0.9)
    assert [len(margins) for margins in mention.margins] == [2, 0, 0, 0, 0, 0, 0]


def test_without_enough_reported_there_is_no_confidence() -> None:
    """The other 0.3 may be tokens that go on copying, each as likely as the last one that is reported."""
    others = [(token, 1.0) for token, _ in REST[1:]]
    tokens = answer(opening={"Iron": 0.1}, others=[REST[0], *others])
    (mention,) = with_confidence([IRON], CONSTRAINT, tokens)
    assert mention.confidence is None
    # 0.3 is missing, too, but no token can have more of it than the least likely one reported.
    tokens = answer(opening={"Iron": 0.1 - 1e-4, "IRON": 1e-4}, others=[REST[0], *others])
    (mention,) = with_confidence([IRON], CONSTRAINT, tokens)
    assert mention.confidence == pytest.approx(1.0)


def test_tokens_that_are_not_the_answer_give_no_confidence() -> None:
    tokens = answer(opening={}, others=[(token, 1.0) for token, _ in REST])
    assert with_confidence([IRON], CONSTRAINT, tokens)[0].confidence == 1.0
    assert with_confidence([IRON], CONSTRAINT, tokens[1:]) == [IRON]
    other = Mention((Span(0, 4),), "drug", "Give")
    assert with_confidence([other], CONSTRAINT, tokens) == [other]
