"""What pydantic finds wrong is said in plain words, on one line."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from constrained_ner.misfits import first_misfit
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.runs.record import RunRecord
from constrained_ner.schema import Schema


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "x", "value: must be a whole number, got 'x'"),
        (int, 1.5, "value: must be a whole number, got 1.5"),
        (float, None, "value: must be a number, got None"),
        (bool, "perhaps", "value: must be true or false, got 'perhaps'"),
        (Literal["a", "b"], "c", "value: must be 'a' or 'b', got 'c'"),
        (tuple[int, ...], (1, "x"), "[1]: must be a whole number, got 'x'"),
        (dict[str, list[int]], {"k": [1, None]}, "k[1]: must be a whole number, got None"),
    ],
)
def test_the_place_and_what_is_expected_there_are_named(kind: Any, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(kind).validate_python(value)
    assert first_misfit(refusal.value, "value") == message


class Bounded(BaseModel):
    share: float = Field(ge=0, le=1)


@pytest.mark.parametrize(("share", "rule"), [(-1, "at least 0"), (1.5, "at most 1")])
def test_bounds_are_named(share: float, rule: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Bounded(share=share)
    assert first_misfit(refusal.value, "value") == f"share: must be {rule}, got {share}"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "types", "sysprompt"]), inner),
)


@given(content=PLAIN)
@pytest.mark.parametrize("model", [Schema, PromptFile, RunRecord])
def test_whatever_a_file_holds_the_message_is_one_short_line(model: type[BaseModel], content: object) -> None:
    try:
        model.model_validate(json.loads(json.dumps(content)))
    except ValidationError as error:
        message = first_misfit(error, "file")
        assert len(message.splitlines()) == 1
        assert len(message) < 300
        for word in ("Input should", "Field required", "valid", "errors.pydantic"):
            assert word not in message.partition(", got ")[0]
