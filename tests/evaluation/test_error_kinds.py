"""Matching, errors by kind and the SemEval schemes: every mention in one place, and cases worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Mention, Span
from constrained_ner.evaluation import analyse_errors, evaluate, match, score_semeval
from constrained_ner.evaluation.error_kinds import KINDS, NONE, kind_of
from constrained_ner.evaluation.official import mention_key
from constrained_ner.evaluation.semeval import SCHEMES

TEXT = "aspirin iron aspirin zinc iron"
TYPES = ["brand", "drug", "group"]


def mention(start: int, end: int, type_: str = "drug", text: str | None = None) -> Mention:
    return Mention((Span(start, end),), type_, TEXT[start:end] if text is None else text)


@st.composite
def mentions(draw: st.DrawFn) -> list[tuple[str, Mention]]:
    """Any mentions of three sentences: overlapping, repeated, discontinuous, with names of their own."""
    found = []
    for _ in range(draw(st.integers(0, 8))):
        start, end, gap = draw(st.integers(0, 28)), draw(st.integers(1, 12)), draw(st.integers(0, 3))
        spans = [Span(start, start + end)]
        if gap:
            spans.append(Span(start + end + gap, start + end + gap + 2))
        text = draw(st.sampled_from([TEXT[start : start + end], "iron"]))
        found.append(
            (draw(st.sampled_from("abc")), Mention(tuple(spans), draw(st.sampled_from(TYPES)), text))
        )
    return found


@given(gold=mentions(), predicted=mentions())
def test_every_mention_is_in_exactly_one_pair(
    gold: list[tuple[str, Mention]], predicted: list[tuple[str, Mention]]
) -> None:
    pairs = match(gold, predicted)
    for side, mentions_ in (("gold", gold), ("predicted", predicted)):
        listed = [mention_key(p.sentence_id, m) for p in pairs if (m := getattr(p, side)) is not None]
        assert len(listed) == len(set(listed))
        assert set(listed) == {mention_key(*m) for m in mentions_}
    assert all(pair.gold or pair.predicted for pair in pairs)


@given(gold=mentions(), predicted=mentions())
def test_kinds_and_matrix_add_up_to_the_official_counts(
    gold: list[tuple[str, Mention]], predicted: list[tuple[str, Mention]]
) -> None:
    analysis, official = analyse_errors(gold, predicted), evaluate(gold, predicted)
    counts = {kind: analysis.counts(kind) for kind in KINDS}
    n = {kind: counts[kind].total() for kind in KINDS}
    assert n["right"] == official.micro.tp
    assert sum(n.values()) - n["spurious"] == official.micro.n_gold
    assert sum(n.values()) - n["missed"] == official.micro.n_predicted
    for name, row in official.by_type.items():
        assert counts["right"][name] == row.tp
        assert sum(c[name] for kind, c in counts.items() if kind != "spurious") == row.n_gold
    matrix = analysis.confusion()
    assert sum(n for (gold_type, _), n in matrix.items() if gold_type != NONE) == official.micro.n_gold
    assert sum(n for (_, found), n in matrix.items() if found != NONE) == official.micro.n_predicted
    assert matrix[NONE, NONE] == 0


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        (mention(0, 7), "right"),
        (mention(0, 7, "brand"), "type"),
        (mention(0, 4), "boundary"),
        (mention(0, 12), "boundary"),
        (mention(0, 4, "group"), "boundary+type"),
        (mention(13, 20), "offset"),
        (mention(0, 7, text="Aspirin"), "name"),
    ],
)
def test_kinds_of_a_pair(predicted: Mention, kind: str) -> None:
    (pair,) = match([("s", mention(0, 7))], [("s", predicted)])
    assert kind_of(pair) == kind


def test_what_has_no_partner_is_missed_or_spurious() -> None:
    pairs = match([("s", mention(0, 7))], [("s", mention(8, 12)), ("t", mention(0, 7))])
    assert [(p.sentence_id, kind_of(p)) for p in pairs] == [
        ("s", "missed"),
        ("s", "spurious"),
        ("t", "spurious"),
    ]


def test_the_closest_partner_wins() -> None:
    gold = [("s", mention(0, 12)), ("s", mention(13, 20, "group"))]
    predicted = [("s", mention(8, 25, "group")), ("s", mention(0, 7))]
    partners = {p.gold: p.predicted for p in match(gold, predicted)}
    assert partners == {gold[0][1]: predicted[1][1], gold[1][1]: predicted[0][1]}
    nearest = match([("s", mention(0, 7))], [("s", mention(13, 20)), ("s", mention(0, 5, text="aspirin"))])
    assert [kind_of(p) for p in nearest] == ["boundary", "spurious"]


def test_the_table_shows_examples_with_the_offsets_of_the_files() -> None:
    analysis = analyse_errors(
        [("d1.s0", mention(0, 7))], [("d1.s0", mention(0, 12)), ("d9", mention(8, 12, "x"))]
    )
    table = analysis.table()
    assert "d1.s0  gold 0-6|aspirin|drug  predicted 0-11|aspirin iron|drug\n" in table
    assert "d9  predicted 8-11|iron|x\n" in table
    assert "gold \\ predicted" in table
    assert "\nmissed:" not in table
    assert analysis.as_dict()["by_kind"]["boundary"] == {"drug": 1}
    assert analysis.as_dict()["confusion"][NONE] == {"drug": 0, "x": 1, NONE: 0}


def test_examples_are_spread_over_the_data() -> None:
    analysis = analyse_errors([(f"s{n}", mention(0, 7)) for n in range(10)], [])
    assert [pair.sentence_id for pair in analysis.examples("missed", 3)] == ["s0", "s3", "s6"]
    assert len(analysis.examples("missed", 99)) == 10


# The schemes of SemEval-2013


def semeval_case() -> tuple[list[tuple[str, Mention]], list[tuple[str, Mention]]]:
    """One mention of every fate: right, wrong type, wrong boundary, both wrong, missed, spurious."""
    gold = [
        mention(0, 7),
        mention(8, 12),
        mention(13, 20, "brand"),
        mention(21, 25, "group"),
        mention(26, 30),
    ]
    predicted = [mention(0, 7), mention(8, 12, "group"), mention(13, 18, "brand"), mention(20, 25)]
    return (
        [("s", m) for m in gold],
        [*(("s", m) for m in predicted), ("t", mention(0, 7, "brand"))],
    )


@pytest.mark.parametrize(
    ("scheme", "counts", "precision"),
    [
        ("strict", (1, 3, 0, 1, 1), 1 / 5),
        ("exact", (2, 2, 0, 1, 1), 2 / 5),
        ("partial", (2, 0, 2, 1, 1), 3 / 5),
        ("type", (2, 2, 0, 1, 1), 2 / 5),
    ],
)
def test_schemes_by_hand(scheme: str, counts: tuple[int, ...], precision: float) -> None:
    row = score_semeval(*semeval_case()).micro[scheme]
    assert (row.cor, row.inc, row.par, row.mis, row.spu) == counts
    assert [row.precision, row.recall, row.f1] == pytest.approx([precision] * 3)


def test_macro_averages_by_hand() -> None:
    result = score_semeval(*semeval_case())
    strict = {name: (row.precision, row.recall) for name, row in result.by_type["strict"].items()}
    assert strict == {"brand": (0, 0), "drug": (1 / 2, 1 / 3), "group": (0, 0)}
    partial = {name: (row.precision, row.recall) for name, row in result.by_type["partial"].items()}
    assert partial == {"brand": (1 / 4, 1 / 2), "drug": (3 / 4, 2 / 3), "group": (1, 1 / 2)}
    assert result.macro("partial").recall == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)


@given(gold=mentions(), predicted=mentions())
def test_schemes_and_the_official_counts(
    gold: list[tuple[str, Mention]], predicted: list[tuple[str, Mention]]
) -> None:
    result, official = score_semeval(gold, predicted), evaluate(gold, predicted)
    for row in result.micro.values():
        assert row.cor + row.inc + row.par + row.mis == row.n_gold == official.micro.n_gold
        assert row.cor + row.inc + row.par + row.spu == row.n_predicted == official.micro.n_predicted
    strict, exact, partial, type_ = (result.micro[scheme].credit_gold for scheme in SCHEMES)
    assert strict <= exact <= partial
    assert strict <= type_
    assert official.micro.tp <= strict  # the official one compares names, too


def test_without_names_of_their_own_strict_is_the_official_table() -> None:
    gold, predicted = semeval_case()
    result, official = score_semeval(gold, predicted), evaluate(gold, predicted)
    for name, row in official.by_type.items():
        strict = result.by_type["strict"][name]
        assert (strict.precision, strict.recall, strict.f1) == (row.precision, row.recall, row.f1)
    assert result.macro("strict").f1 == pytest.approx(official.macro.f1)


def test_a_place_marked_in_gold_twice_is_no_worry() -> None:
    gold = [("s", mention(0, 7)), ("s", mention(0, 7)), ("s", mention(0, 7, "brand"))]
    assert score_semeval(gold, [("s", mention(0, 7))]).micro["strict"].n_gold == 2


def test_nothing_at_all_gives_zeros() -> None:
    result = score_semeval([], [])
    assert result.macro("strict").f1 == result.micro["strict"].f1 == 0
    assert result.table().count("0.0%") == 24
    assert analyse_errors([], []).table().startswith("errors by kind")
