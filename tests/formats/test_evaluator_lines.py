"""Evaluator lines: inclusive ends, one mention a line, and one line about what is wrong in a bad one."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.evaluator_lines import (
    evaluator_lines,
    format_line,
    format_offsets,
    parse_offsets,
    read_predictions,
)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "out"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_are_sorted_with_inclusive_ends() -> None:
    mentions = (
        Mention((Span(12, 16),), "drug", "iron"),
        Mention((Span(0, 7), Span(12, 16)), "group", "Aspirin iron"),
    )
    assert list(evaluator_lines(Document("d", (Sentence("s", "Aspirin and iron.", mentions),)))) == [
        "s|0-6;12-15|Aspirin iron|group",
        "s|12-15|iron|drug",
    ]


def test_a_line_stays_one_line() -> None:
    assert format_line("s", Mention((Span(0, 4),), "drug", "a\r\nb")) == "s|0-3|a  b|drug"


def test_a_name_may_hold_the_separator(tmp_path: Path) -> None:
    mention = Mention((Span(0, 5),), "drug", "a|b|c")
    path = write(tmp_path, format_line("s", mention) + "\n")
    assert read_predictions(path) == [("s", mention)]


def test_an_id_with_leading_blanks_comes_back_as_it_was(tmp_path: Path) -> None:
    mention = Mention((Span(0, 4),), "drug", "iron")
    path = write(tmp_path, "".join(format_line(name, mention) + "\n" for name in ("  s", "\ts", " ", "s ")))
    assert [name for name, _ in read_predictions(path)] == ["  s", "\ts", " ", "s "]


def test_predictions_with_bom_crlf_and_empty_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffs|0-3|iron|drug\r\n\r\ns|0-3|iron|drug\r\n")
    assert read_predictions(path) == [("s", Mention((Span(0, 4),), "drug", "iron"))] * 2


@pytest.mark.parametrize(
    "line",
    ["s|0-3|iron", "iron", "s|0-3", "|0-3|iron|drug", "s|0-3|iron|", "s|3|iron|drug", "s|3-0|iron|drug"],
)
def test_a_malformed_prediction_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, f"s|0-3|iron|drug\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: line 2: ")
    assert repr(line) in str(caught.value)


def test_predictions_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        read_predictions(tmp_path / "nothing")
    with pytest.raises(InputError, match="not UTF-8 text: byte 3"):
        read_predictions(write(tmp_path, b"abc\xff"))


def disjoint(places: set[int]) -> list[Span]:
    ordered = sorted(places)
    return [Span(start, end) for start, end in zip(ordered[::2], ordered[1::2], strict=False)]


spans_lists = st.sets(st.integers(0, 10**6), min_size=2).map(disjoint)


@given(spans_lists)
def test_offsets_round_trip(spans: list[Span]) -> None:
    assert parse_offsets(format_offsets(spans)) == tuple(spans)


@given(st.text())
def test_parse_offsets_raises_nothing_but_value_error(value: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_offsets(value)
