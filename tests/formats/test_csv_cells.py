"""CSV that no spreadsheet runs as formulas."""

from __future__ import annotations

import csv
import io

import pytest

from constrained_ner.formats.csv_cells import csv_text


@pytest.mark.parametrize(
    "cell", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "-1-1", "+1e", "-", "=", "-inf"]
)
def test_a_formula_begins_with_an_apostrophe(cell: str) -> None:
    _, (found,) = csv.reader(io.StringIO(csv_text(["name"], [[cell]]), newline=""))
    assert found == f"'{cell}"


@pytest.mark.parametrize("cell", ["1=1", "a,b", 'say "x"', "", "-1", "+0.5", "-.5", "-1.5e-3", "two\nlines"])
def test_other_texts_and_numbers_stay_as_they_are(cell: str) -> None:
    _, found = csv.reader(io.StringIO(csv_text(["name", "x"], [[cell, 1]]), newline=""))
    assert found == [cell, "1"]


def test_values_are_written_plainly() -> None:
    assert csv_text(["=a", "b"], [[-1.5, None], [True, float("-inf")]]) == "'=a,b\n-1.5,\nTrue,-inf\n"
