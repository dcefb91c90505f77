"""Sentence to tagged text and back."""

from __future__ import annotations

import re
from random import Random

import pytest
from hard_texts import boundaries, chances, random_mentions, texts
from hypothesis import given

from constrained_ner.constraint.edges import Boundary
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.schema import DDI

MARKUP = Markup(DDI)


def mention(text: str, start: int, end: int, entity_type: str = "drug") -> Mention:
    return Mention((Span(start, end),), entity_type, text[start:end])


def test_write() -> None:
    text = "Effect of aspirin on beta-blockers."
    mentions = [mention(text, 10, 17), mention(text, 21, 34, "group")]
    assert MARKUP.write(text, mentions) == "Effect of <drug>aspirin</drug> on <group>beta-blockers</group>."


def test_adjacent_mentions() -> None:
    assert MARKUP.write("a-b", [mention("a-b", 0, 1), mention("a-b", 1, 3)]) == (
        "<drug>a</drug><drug>-b</drug>"
    )


@pytest.mark.parametrize(
    "mentions",
    [
        [mention("abcd", 0, 2), mention("abcd", 1, 3)],
        [mention("abcd", 2, 3), mention("abcd", 0, 1)],
        [Mention((Span(0, 1), Span(2, 3)), "drug", "a c")],
    ],
    ids=["overlapping", "out of order", "discontinuous"],
)
def test_write_refuses_what_it_cannot_write(mentions: list[Mention]) -> None:
    with pytest.raises(ValueError, match="is discontinuous, overlapping or out of order"):
        MARKUP.write("abcd", mentions)


@given(texts, boundaries, chances)
def test_tags_added_and_removed_leave_the_sentence(text: str, boundary: Boundary, chance: Random) -> None:
    mentions = random_mentions(chance, text, MARKUP.types, boundary)
    answer = MARKUP.write(text, mentions)
    at, parts = 0, []
    for m in mentions:
        opening, closing = MARKUP.open_tag(m.type), MARKUP.close_tag(m.type)
        before = m.start - sum(map(len, parts))
        parts.append(answer[at : at + before])
        at += before
        assert answer.startswith(opening + m.text + closing, at)
        parts.append(m.text)
        at += len(opening + m.text + closing)
    assert "".join(parts) + answer[at:] == text
    kept, refused = MARKUP.expressible(Sentence("s", text, tuple(mentions)), boundary)
    assert (list(kept), refused) == (mentions, ())


@given(texts, boundaries, chances)
def test_parse_inverts_write_if_the_text_spells_no_tag(text: str, boundary: Boundary, chance: Random) -> None:
    if re.search("</?(drug|brand|group|drug_n)>", text):
        return
    mentions = random_mentions(chance, text, MARKUP.types, boundary)
    parsed = MARKUP.parse(MARKUP.write(text, mentions))
    assert parsed.plain == text
    assert parsed.mentions == tuple((m.type, m.spans[0]) for m in mentions)
    assert all(problem.startswith("unknown tag") for problem in parsed.problems)


@pytest.mark.parametrize(
    ("answer", "plain", "mentions", "problems"),
    [
        ("on <drug>aspirin</drug>", "on aspirin", [("drug", 3, 10)], []),
        ("<medicine>x</medicine>", None, [], ["unknown tag <medicine>", "unknown tag </medicine>"]),
        ("<drug>a", "a", [], ["<drug> is never closed"]),
        ("a</drug>", "a", [], ["</drug> closes nothing"]),
        ("<drug></drug>a", "a", [], ["<drug> holds nothing"]),
        ("<drug>a</brand>", "a", [], ["</brand> closes nothing", "<drug> is never closed"]),
        ("<drug>a<brand>b</brand>", "ab", [("brand", 1, 2)], ["<drug> is never closed"]),
        ("a < b </ c>", None, [], []),
    ],
)
def test_parse(
    answer: str, plain: str | None, mentions: list[tuple[str, int, int]], problems: list[str]
) -> None:
    parsed = MARKUP.parse(answer)
    assert parsed.plain == (answer if plain is None else plain)
    assert [(t, s.start, s.end) for t, s in parsed.mentions] == mentions
    assert list(parsed.problems) == problems


@given(texts)
def test_parse_never_fails_and_invents_nothing(answer: str) -> None:
    parsed = MARKUP.parse(answer)
    assert re.sub("</?(drug|brand|group|drug_n)>", "", answer) == parsed.plain
    ends = [0, *(end for _, span in parsed.mentions for end in (span.start, span.end)), len(parsed.plain)]
    assert ends == sorted(ends)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (Mention((Span(0, 3),), "food", "The"), "type is not in the schema"),
        (Mention((Span(0, 3), Span(4, 7)), "drug", "The old"), "discontinuous"),
        (Mention((Span(4, 99),), "drug", "old aspirin."), "runs past the text"),
        (Mention((Span(4, 9),), "drug", "old a"), "cuts through a word, or starts or ends on white space"),
        (Mention((Span(3, 7),), "drug", " old"), "cuts through a word, or starts or ends on white space"),
        (Mention((Span(8, 15),), "brand", "aspirin"), "overlaps another mention"),
    ],
)
def test_what_cannot_be_expressed_is_named(refused: Mention, reason: str) -> None:
    kept = Mention((Span(8, 15),), "drug", "aspirin")
    sentence = Sentence("s", "The old aspirin.", (kept, refused))
    found, dropped = MARKUP.expressible(sentence)
    assert found == (kept,)
    assert [(r.mention, r.reason) for r in dropped] == [(refused, reason)]


@pytest.mark.parametrize(
    ("name", "n_mentions", "n_discontinuous", "n_cutting"), [("train", 11452, 27, 39), ("devel", 3125, 12, 2)]
)
def test_what_the_corpus_has_that_tags_cannot_express(
    gold: dict[str, list[Sentence]], name: str, n_mentions: int, n_discontinuous: int, n_cutting: int
) -> None:
    outcomes = [MARKUP.expressible(sentence) for sentence in gold[name]]
    reasons = [r.reason.split(",")[0] for _, refused in outcomes for r in refused]
    assert sum(len(kept) for kept, _ in outcomes) + len(reasons) == n_mentions
    assert reasons.count("discontinuous") == n_discontinuous
    assert reasons.count("cuts through a word") == n_cutting
    assert len(reasons) == n_discontinuous + n_cutting
