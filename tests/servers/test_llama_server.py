"""llama.cpp's own server, through xllamacpp, with the bundled model and with SmolLM2 as it is.

The script `real_servers.py` runs the same checks with more sentences, and against other products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import checks
import pytest
from checks import Target
from installed_models import SMOLLM2, real_model
from products import LLAMA_SERVER, start
from servers import with_visible_tags

from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.data import Sentence
from constrained_ner.formats.ddi import read_ddi

pytest.importorskip("xllamacpp", reason="needs llama.cpp's server: pip install xllamacpp")

NEAR_TIE = 1.5
"""Logits by which another arithmetic may move a decision, at most: 1.1 was seen in 140 answers."""

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
SENTENCES = [sentence for document in read_ddi(SAMPLE) for sentence in document if sentence.text.strip()]


@pytest.fixture(scope="module")
def visible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_visible_tags(bundled_model(), tmp_path_factory.mktemp("model") / "visible.gguf")


def start_bundled(visible: Path) -> Target:
    here = {"model": str(bundled_model()), "threads": 1}
    # The sentence alone: llama-server puts instructions that a template drops into the first user turn.
    return start(LLAMA_SERVER, visible, here, settings={"prompt": "bare"}, parallel=8, context=512)


@pytest.fixture(scope="module")
def target(visible: Path) -> Iterator[Target]:
    target = start_bundled(visible)
    yield target
    target.kill()


def test_it_finds_what_decoding_here_finds_nearly_as_sure_of_it(target: Target) -> None:
    """Nearly: here the arithmetic is another (int8)."""
    untagged = [sentence for sentence in SENTENCES if "<" not in sentence.text]
    assert len(untagged) > len(SENTENCES) - 5  # to a server, a tag in the text is a control token
    seen = checks.answers_equal_local_ones(target, untagged)
    assert seen["mentions"] > 50
    assert seen["equal"] >= len(untagged) - 4
    assert max(seen["margins of the others"], default=0.0) < NEAR_TIE
    assert seen["of these without confidence"] <= seen["in both"] * 0.1
    assert seen["confidence differs by"]["on average"] < 0.02


def test_a_bias_moves_the_operating_point_as_it_does_here(target: Target) -> None:
    counts = []
    for number in (-3.0, 3.0):
        bias = dict.fromkeys(("drug", "brand", "group", "drug_n"), number)
        seen = checks.answers_equal_local_ones(target, SENTENCES[:12], bias=bias)
        assert abs(seen["mentions"] - seen["mentions here"]) <= 2
        assert seen["equal"] >= 10
        counts.append(seen["mentions"])
    assert counts[0] < counts[1]


def test_it_heeds_the_grammar(target: Target) -> None:
    checks.grammar_is_heeded(target)


def test_a_grammar_that_it_ignores_is_noticed(target: Target) -> None:
    text = "Efavirenz (EFV) 600 mg q.d. lowered etravirine (ETR) AUC by 41%."  # free, it writes another drug
    checks.ignored_grammar_is_noticed(target, [Sentence("0", text)])


def test_an_answer_that_takes_too_long_is_a_time_out(target: Target) -> None:
    checks.slow_answers_time_out(target, SENTENCES[0])


def test_a_cancelled_request_stops(target: Target) -> None:
    checks.cancelled_requests_stop(target)


def test_eight_at_once_are_answered_as_one_by_one(target: Target) -> None:
    seen = checks.eight_at_once(target, SENTENCES[:16])
    assert seen["as one by one"] >= 15  # a batch rounds its sums otherwise


def test_a_run_outlives_the_server(visible: Path, tmp_path: Path) -> None:
    seen = checks.outlives_a_killed_server(lambda: start_bundled(visible), SENTENCES[:12], tmp_path)
    assert "cannot be reached" in seen["said"]


def test_the_model_is_named_by_its_files_path(target: Target, visible: Path) -> None:
    for name in ("visible", "visible.gguf", str(visible)):
        with replace(target, model=name).annotator() as ner:
            assert ner.backend.description["name"] == "visible.gguf"
            assert ner.backend.context_length == 512


@pytest.mark.parametrize(
    "settings",
    [{"bias": dict.fromkeys(("drug", "brand", "group", "drug_n"), 2.0)}, {"answer": "list"}],
    ids=["tags", "list"],
)
def test_smollm2_decides_otherwise_only_what_is_a_near_tie_here(settings: dict[str, Any]) -> None:
    """An instruct model with its own chat template, examples, text that is not the sample's."""
    model = real_model(SMOLLM2)
    here = {"model": str(model), "threads": 1, "context": 2048}
    target = start(LLAMA_SERVER, model, here, settings={"examples": SENTENCES[:8], **settings})
    try:
        seen = checks.answers_equal_local_ones(target, SENTENCES[8:12])
    finally:
        target.kill()
    assert seen["mentions"] > 0
    assert max(seen["margins of the others"], default=0.0) < NEAR_TIE
