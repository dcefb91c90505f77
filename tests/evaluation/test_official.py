import json
from pathlib import Path

import pytest

from constrained_ner.data import Mention, Span
from constrained_ner.evaluation import Counts, evaluate
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import read_predictions

CASES = ["dropped", "duplicated", "empty", "no_drug_n", "perfect", "retyped", "shifted", "spurious"]


def mention(start: int, end: int, type_: str = "drug", text: str = "iron") -> Mention:
    return Mention((Span(start, end),), type_, text)


@pytest.fixture(scope="module")
def devel_gold(shared: Path) -> list[tuple[str, Mention]]:
    documents = read_ddi(shared / "data/ddi/devel.xml")
    return [(s.id, m) for document in documents for s in document for m in s.mentions]


@pytest.mark.parametrize("case", CASES)
def test_the_table_equals_the_official_evaluators_byte_for_byte(
    shared: Path, devel_gold: list[tuple[str, Mention]], case: str
) -> None:
    folder = shared / "data/eval_cases"
    table = evaluate(devel_gold, read_predictions(folder / f"{case}.out")).table()
    assert table.encode() == (folder / f"{case}.stats").read_bytes()


def test_every_official_case_is_covered(shared: Path) -> None:
    assert sorted(p.stem for p in (shared / "data/eval_cases").glob("*.stats")) == CASES


def test_counts_give_zero_over_nothing() -> None:
    nothing = Counts(0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)


def test_counts_ratios() -> None:
    counts = Counts(tp=3, fp=1, fn=3)
    assert (counts.precision, counts.recall, counts.f1) == (0.75, 0.5, 0.6)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([("s0", mention(0, 4))], Counts(1, 0, 0)),
        ([("s0", mention(0, 4)), ("s0", mention(0, 4))], Counts(1, 0, 0)),
        ([("s1", mention(0, 4))], Counts(0, 1, 1)),
        ([("s0", mention(0, 5))], Counts(0, 1, 1)),
        ([("s0", mention(0, 4, "group"))], Counts(0, 1, 1)),
        ([("s0", mention(0, 4, text="Iron"))], Counts(0, 1, 1)),
        ([], Counts(0, 0, 1)),
    ],
    ids=["right", "twice", "sentence", "offsets", "type", "name", "none"],
)
def test_what_counts_as_right(predicted: list[tuple[str, Mention]], expected: Counts) -> None:
    assert evaluate([("s0", mention(0, 4))], predicted).micro == expected


def test_types_that_gold_lacks_cost_precision_but_have_no_row() -> None:
    result = evaluate([("s0", mention(0, 4))], [("s0", mention(0, 4)), ("s0", mention(6, 9, "disease"))])
    assert list(result.by_type) == ["drug"]
    assert result.by_type["drug"] == Counts(1, 0, 0)
    assert result.micro == Counts(1, 1, 0)


def test_no_class_counts_a_place_once() -> None:
    result = evaluate([("s0", mention(0, 4))], [("s0", mention(0, 4, t)) for t in ("group", "brand")])
    assert result.no_class == Counts(1, 0, 0)
    assert result.micro == Counts(0, 2, 1)


def test_macro_f1_is_the_mean_of_the_types_f1() -> None:
    gold = [("s0", mention(0, 4)), ("s0", mention(6, 9, "group")), ("s0", mention(10, 12, "group"))]
    result = evaluate(gold, [("s0", mention(0, 4)), ("s0", mention(6, 9, "group"))])
    assert result.macro.precision == 1
    assert result.macro.recall == 0.75
    assert result.macro.f1 == pytest.approx((1 + 2 / 3) / 2)


def test_discontinuous_mentions_need_every_piece() -> None:
    pieces = Mention((Span(0, 4), Span(9, 13)), "group", "live vaccines")
    whole = Mention((Span(0, 13),), "group", "live vaccines")
    assert evaluate([("s0", pieces)], [("s0", pieces)]).micro == Counts(1, 0, 0)
    assert evaluate([("s0", pieces)], [("s0", whole)]).micro == Counts(0, 1, 1)


def test_a_line_break_in_a_gold_name_can_be_matched() -> None:
    gold = [("s0", mention(0, 9, text="beta\nbloc"))]
    assert evaluate(gold, [("s0", mention(0, 9, text="beta bloc"))]).micro == Counts(1, 0, 0)


def test_gold_without_mentions_gives_a_table_of_zeros() -> None:
    result = evaluate([], [("s0", mention(0, 4))])
    assert result.macro.f1 == 0
    assert (
        result.table().splitlines()[-1] == "m.avg(no class)     0\t   1\t   0\t   1\t   0\t0.0%\t0.0%\t0.0%"
    )


def test_as_dict_is_json_with_unrounded_figures() -> None:
    result = evaluate(
        [("s0", mention(0, 4)), ("s0", mention(5, 6)), ("s0", mention(7, 8))], [("s0", mention(0, 4))]
    )
    plain = json.loads(json.dumps(result.as_dict()))
    assert plain["micro"] == plain["by_type"]["drug"] == plain["no_class"]
    assert plain["micro"]["recall"] == 1 / 3
    assert plain["macro"]["f1"] == 0.5
