"""JSON one item at a time: the items of every shape, wherever the file is cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.formats.json_items import _Source, json_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)


def items(text: str, sizes: Iterator[int]) -> list[Any]:
    """The items of a text that comes in pieces of these sizes."""

    def pieces() -> Iterator[str]:
        at = 0
        while at < len(text):
            size = next(sizes)
            yield text[at : at + size]
            at += size

    return [value for _, value in _Source(Path("x"), pieces()).items(("documents",))]


@given(
    st.lists(VALUES, max_size=4),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.data(),
)
def test_any_pieces_give_the_same_items(
    values: list[Any], ascii: bool, sizes: list[int], data: st.DataObject
) -> None:
    indent = data.draw(st.sampled_from([None, 1]))
    shape = data.draw(st.sampled_from(["list", "object"]))
    content = values if shape == "list" else {"key": 1.5, "documents": values, "more": {"a": []}}
    text = json.dumps(content, ensure_ascii=ascii, indent=indent)
    endless = (sizes[n % len(sizes)] for n in range(10**9))
    assert items(text, endless) == values


@pytest.mark.parametrize(
    "text", ["[1, 2", "[1 2]", "[1,]", '{"a" 1}', '{"a": 1 "b": 2}', "[tru]", "x", '["a\nb"]', "{1: 2}"]
)
def test_what_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f"\n{text}")
    with pytest.raises(Exception, match=r"x.json: line [23]: not JSON"):
        list(json_items(path))


def test_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"n": 1}\n\n{"n":\n 2}\n[3]')
    assert list(json_items(path)) == [(1, {"n": 1}), (3, {"n": 2}), (5, 3)]
