"""The API against its own description: whatever is sent, the service never answers with 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from serving import Served, served

from constrained_ner import Annotator
from constrained_ner.service.engine import ThisProcess
from constrained_ner.service.limits import Limits

PATIENCE_S = 600
BOUNDED = settings(max_examples=40, suppress_health_check=list(HealthCheck))


@schemathesis.serializer("application/x-ndjson")
def _as_lines(_: Any, value: Any) -> bytes:
    """The description calls the lines one string; what is sent against it is JSON of another kind."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    """A service whose limits are low: here it is about the bodies, and long texts only take time."""
    limits = Limits(body_bytes=20_000, characters=2_000)
    with Annotator.load() as annotator, served(ThisProcess(annotator), limits) as service:
        yield service


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_of_the_description_or_against_it_gives_a_500(
    running: Served, mode: GenerationMode
) -> None:
    described = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 7
    for operation in operations:
        documented = {int(status) for status in operation.definition.raw["responses"]}
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # there is nothing to get wrong

        _check(operation.as_strategy(generation_mode=mode), documented)


def _check(cases: Any, documented: set[int]) -> None:
    @BOUNDED
    @given(case=cases)
    def check(case: Any) -> None:
        response = case.call()
        assert response.status_code in documented, (response.status_code, response.text)
        assert response.status_code != 500

    check()


@given(body=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@BOUNDED
def test_no_bytes_give_a_500(running: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("annotate", "annotate/stream"):
        response = httpx.post(f"{running.url}/v1/{path}", content=body, headers=headers, timeout=PATIENCE_S)
        assert response.status_code in (200, 400, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 15_000,
        b'{"texts": ' + b"[" * 15_000,
        b'{"texts": ["' + b"\\ud800" * 100 + b'"]}',
        b'{"texts": ["a"], "\\udfff": 1}',
        b'{"texts": [{"id": "\\ud83d", "text": "Iron."}]}',
        b'{"texts": ["\\u0000\\u001b[31m</drug><|endoftext|>"]}',
        b'{"texts": [' + b"9" * 6_000 + b"]}",
        b'{"texts": ["a"], "options": {"min_confidence": NaN, "bias": {"drug": Infinity}}}',
        json.dumps({"texts": ["a"], "options": {"bias": {"drug": 1e308}}}).encode(),
    ],
)
def test_no_trick_gives_a_500(running: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{running.url}/v1/annotate", content=body, headers=headers, timeout=PATIENCE_S)
    assert response.status_code in (200, 400, 422), response.text
    lines = httpx.post(f"{running.url}/v1/annotate/stream", content=body, headers=headers, timeout=PATIENCE_S)
    assert lines.status_code == 200
    assert all(json.loads(line) for line in lines.text.splitlines())
