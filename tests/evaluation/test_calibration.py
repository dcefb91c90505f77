"""Confidences: reliability by hand, a temperature found again, curves, and where a temperature is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import byte_level_tokenizer, write_gguf

from constrained_ner.backends.protocol import Step
from constrained_ner.backends.temperature import (
    CALIBRATION_FILE,
    checked_temperature,
    store_temperature,
    stored_temperature,
)
from constrained_ner.data import Mention, Span
from constrained_ner.decoding.confidence import confidence, log_probability
from constrained_ner.errors import MissingExtraError, ModelError, OutputError
from constrained_ner.evaluation import Reliability, curves, fit_temperature
from constrained_ner.evaluation.calibration import Confidences
from constrained_ner.evaluation.curves import Curve
from constrained_ner.experiments.report.confidence_figure import require_plot, save_confidence_figure

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=6)
temperatures = st.floats(0.1, 10)


def margins_of(values: list[float], chosen: int = 0) -> tuple[float, ...]:
    return tuple(value - values[chosen] for n, value in enumerate(values) if n != chosen)


@given(values=logits, temperature=temperatures)
def test_probabilities_of_all_choices_add_up_to_one(values: list[float], temperature: float) -> None:
    total = sum(math.exp(log_probability(margins_of(values, n), temperature)) for n in range(len(values)))
    assert total == pytest.approx(1)


@given(values=st.lists(logits, max_size=4), temperature=temperatures)
def test_all_at_once_is_one_by_one(values: list[list[float]], temperature: float) -> None:
    mentions = [with_margins([margins_of(v)]) for v in values] + [
        with_margins([margins_of(v) for v in values])
    ]
    alone = [confidence(m.margins, temperature) for m in mentions]
    assert Confidences(mentions).at(temperature) == pytest.approx(alone)


@given(values=logits)
def test_a_higher_temperature_makes_the_best_choice_less_sure(values: list[float]) -> None:
    margins = margins_of(values, int(np.argmax(values)))
    assert confidence([margins], 2.0) <= confidence([margins], 1.0) <= confidence([margins], 0.5)


def with_margins(margins: list[tuple[float, ...]], type_: str = "drug", start: int = 0) -> Mention:
    return Mention((Span(start, start + 4),), type_, "iron", confidence(margins), margins=tuple(margins))


@pytest.mark.parametrize("true_temperature", [0.6, 1.0, 1.8])
def test_a_temperature_is_found_again(true_temperature: float) -> None:
    """Mentions that are right as often as their confidence at the true temperature says."""
    generator = np.random.default_rng(0)
    mentions = [
        with_margins([tuple(-generator.exponential(3, size=3)) for _ in range(generator.integers(1, 4))])
        for _ in range(4000)
    ]
    right = generator.random(len(mentions)) < Confidences(mentions).at(true_temperature)
    assert fit_temperature(mentions, right) == pytest.approx(true_temperature, rel=0.06)


def test_without_margins_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no mention has margins"):
        fit_temperature([Mention((Span(0, 4),), "drug", "iron", 1.0)], np.array([True]))


def test_reliability_by_hand() -> None:
    confidences, right = np.array([0.95, 0.85, 0.85, 0.15, 1.0]), np.array([True, True, False, False, True])
    found = Reliability.of(confidences, right)
    filled = {round(b.low, 1): (b.n, b.mean_confidence, b.share_right) for b in found.bins if b.n}
    assert filled[0.1] == (1, pytest.approx(0.15), 0)
    assert filled[0.8] == (2, pytest.approx(0.85), 0.5)
    assert filled[0.9] == (2, pytest.approx(0.975), 1)
    assert found.ece == pytest.approx((0.15 + 2 * 0.35 + 2 * 0.025) / 5)
    assert found.brier == pytest.approx(np.mean((confidences - right) ** 2))
    assert "ECE 0.1800 (10 bins of equal width), Brier score" in found.table()


def test_what_is_always_true_to_its_word_has_no_error() -> None:
    found = Reliability.of(np.full(10, 0.7), np.arange(10) < 7)
    assert found.ece == pytest.approx(0)


def test_reliability_of_nothing() -> None:
    found = Reliability.of(np.zeros(0), np.zeros(0, dtype=bool))
    assert (found.n, found.ece, found.brier, found.log_loss) == (0, None, None, None)
    assert "no mentions" in found.table()
    assert json.loads(json.dumps(found.as_dict()))["bins"][0]["mean_confidence"] is None


# Precision and recall


def test_a_curve_by_hand() -> None:
    curve = Curve.of(np.array([0.5, 0.9, 0.7, 0.7]), np.array([True, True, False, True]), n_gold=5)
    assert curve.thresholds.tolist() == [0.9, 0.7, 0.5]
    assert curve.precision == pytest.approx([1, 2 / 3, 3 / 4])
    assert curve.recall == pytest.approx([1 / 5, 2 / 5, 3 / 5])
    assert curve.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 5)
    assert curve.best_threshold == 0.5
    assert (curve.at(0.6).tp, curve.at(0.6).fp, curve.at(0.6).fn) == (2, 1, 3)
    assert (curve.at(0.95).tp, curve.at(0.95).fn, curve.at(0.95).f1) == (0, 5, 0)


@given(
    scored=st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()), max_size=20),
    n_missed=st.integers(0, 5),
    least=st.sampled_from([0.0, 0.2, 0.3, 0.95, 1.0]),
)
def test_a_curve_says_what_leaving_out_would_give(
    scored: list[tuple[float, bool]], n_missed: int, least: float
) -> None:
    n_gold = sum(right for _, right in scored) + n_missed
    confidences, right = (np.array([s[i] for s in scored], dtype=kind) for i, kind in ((0, float), (1, bool)))
    curve = Curve.of(confidences, right, n_gold)
    kept = [right for confidence, right in scored if confidence >= least]
    counts = curve.at(least)
    assert (counts.tp, counts.fp, counts.fn) == (sum(kept), len(kept) - sum(kept), n_gold - sum(kept))
    assert 0 <= curve.average_precision <= 1
    if curve.best_threshold is not None:
        assert curve.at(curve.best_threshold).f1 == pytest.approx(curve.f1.max())


def test_curves_are_drawn_by_type() -> None:
    gold = [
        ("s", Mention((Span(n, n + 4),), t, "iron")) for n, t in ((0, "drug"), (10, "drug"), (20, "brand"))
    ]
    predicted = [("s", Mention((Span(n, n + 4),), "drug", "iron", c)) for n, c in ((0, 0.9), (20, 0.4))]
    found = curves(gold, predicted)
    assert list(found.by_type) == ["brand", "drug"]
    assert found.by_type["brand"].average_precision == 0
    assert found.by_type["brand"].best_threshold is None
    assert found.by_type["drug"].average_precision == 0.5
    assert found.all.n_gold == 3
    assert "best F1, from" in found.table()
    assert json.loads(json.dumps(found.as_dict()))["drug"]["best_threshold"] == 0.9


def test_figures_are_drawn(tmp_path: Path) -> None:
    reliability = Reliability.of(np.array([0.9, 0.2]), np.array([True, False]))
    drawn = curves([("s", with_margins([]))], [("s", with_margins([]))])
    for name, parts in (
        ("a.png", (reliability, drawn)),
        ("b.svg", (reliability, None)),
        ("c.pdf", (None, drawn)),
    ):
        save_confidence_figure(tmp_path / name, *parts)
        assert (tmp_path / name).stat().st_size > 3000


def test_figures_have_known_formats(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.png, \.svg, \.pdf"):
        require_plot(tmp_path / "figure.doc")


def test_matplotlib_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'constrained-ner\[report\]'"):
        require_plot(tmp_path / "figure.png")


# Where a temperature is kept


def test_a_folder_keeps_its_temperature(tmp_path: Path) -> None:
    assert stored_temperature(None, tmp_path) is None
    assert store_temperature(tmp_path, 1.25) == tmp_path / CALIBRATION_FILE
    assert stored_temperature(None, tmp_path) == 1.25
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    assert stored_temperature(adapter, tmp_path) == 1.25
    store_temperature(adapter, 2.0)
    assert stored_temperature(adapter, tmp_path) == 2.0


@pytest.mark.parametrize("content", ["nonsense", '{"temperature": 0}', '{"temperature": "hot"}', "[]", "{}"])
def test_a_calibration_file_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(content)
    with pytest.raises(ModelError, match=CALIBRATION_FILE):
        stored_temperature(tmp_path)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "x", None])
def test_what_is_no_temperature_is_refused(value: object) -> None:
    with pytest.raises(ModelError, match="which is not a number above 0"):
        checked_temperature(value, "model.gguf")


def test_a_gguf_keeps_its_temperature_and_everything_else(tmp_path: Path) -> None:
    from constrained_ner.backends.llamacpp.backend import LlamaCppBackend

    path = write_gguf(tmp_path / "tiny.gguf", byte_level_tokenizer())
    before = LlamaCppBackend(path, threads=1)
    ids = before.vocabulary.encode("Effect of aspirin")
    before.prefill(ids[:1])
    assert before.temperature is None
    for temperature in (1.5, 0.75):  # the second one replaces the first
        store_temperature(path, temperature)
        after = LlamaCppBackend(path, threads=1)
        assert after.temperature == temperature
        assert after.chat_template == before.chat_template
        assert after.vocabulary.token_bytes == before.vocabulary.token_bytes
        after.prefill(ids[:1])
        (row,), (expected,) = (backend.forward([step(ids[1:])]) for backend in (after, before))
        for scores, others in zip(row, expected, strict=True):
            assert scores is not None
            assert others is not None
            assert np.array_equal(scores.logits, others.logits)
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.gguf"}


def test_a_full_disk_leaves_the_gguf_as_it_was(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = write_gguf(tmp_path / "tiny.gguf", byte_level_tokenizer())
    content, before = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        with pytest.raises(OutputError, match=r"tiny\.gguf: cannot be written"):
            store_temperature(path, 1.5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == content
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.gguf"}


def step(ids: list[int]) -> Step:
    return Step(0, 0, ids, [list(range(50))] * len(ids))


def test_what_is_no_model_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"no model at all, and long enough to be read")
    with pytest.raises(ModelError, match="not a GGUF file"):
        store_temperature(path, 1.5)
    assert path.read_bytes().startswith(b"no model")
    with pytest.raises(ModelError, match="neither a GGUF file nor a folder"):
        store_temperature(tmp_path / "organisation" / "model", 1.5)
