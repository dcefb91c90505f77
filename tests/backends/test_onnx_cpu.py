"""GGUFs through ONNX Runtime: the scores of transformers, and the same bits whatever else runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")
for package in ("onnx", "llama_cpp", "torch", "peft"):
    pytest.importorskip(package)

from exportable_models import write_model  # noqa: E402
from exporting import IDS, expected_logits, logits_of, write_adapter  # noqa: E402
from tiny_models import SENTENCES  # noqa: E402

from constrained_ner import Annotator, Sentence  # noqa: E402
from constrained_ner.backends.bundled_cpu.model_files import Precision  # noqa: E402
from constrained_ner.backends.onnx_cpu.backend import OnnxBackend  # noqa: E402
from constrained_ner.backends.protocol import Step  # noqa: E402
from constrained_ner.export.to_gguf import export_lora, export_model  # noqa: E402

TOLERANCE = 2e-3
"""Of logits with a deviation of 3 to 30; float32, in another order."""

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),  # half as many heads of keys, an output layer of its own
    "llama, tied": ("llama", {"tie_word_embeddings": True, "head_dim": 12, "num_key_value_heads": 1}),
    "qwen3": ("qwen3", {}),
    "gemma3": ("gemma3_text", {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 512}),
    "gemma3, a window": ("gemma3_text", {}),  # of 7 tokens
}


@pytest.fixture(scope="module", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, changes = SHAPES[request.param]
    return write_model(tmp_path_factory.mktemp("model") / kind, kind, **changes)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """In float32."""
    path = folder.with_suffix(".gguf")
    export_model(str(folder), path, type="f32")
    return path


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    return write_adapter(folder.with_name("adapter"), folder)


@pytest.fixture(scope="module")
def lora(folder: Path, adapter: Path) -> Path:
    path = folder.with_name("lora.gguf")
    export_lora(str(folder), str(adapter), path)
    return path


@pytest.fixture(scope="module", params=["int8", "float32"])
def precision(request: pytest.FixtureRequest) -> Precision:
    chosen: Precision = request.param
    return chosen


# ---- the scores


def test_float32_has_the_scores_of_transformers(folder: Path, model: Path) -> None:
    found, expected = logits_of(OnnxBackend(model, precision="float32")), expected_logits(folder)
    assert expected.std() > 1
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=TOLERANCE, rtol=1e-3)


def test_a_lora_is_added_to_the_weights(folder: Path, model: Path, adapter: Path, lora: Path) -> None:
    found = logits_of(OnnxBackend(model, lora=lora, precision="float32"))
    expected = expected_logits(folder, adapter)
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=TOLERANCE, rtol=1e-3)
    assert np.abs(expected - expected_logits(folder)).max() > 0.5


def test_int8_stays_close(model: Path) -> None:
    exact, rounded = (logits_of(OnnxBackend(model, precision=p)) for p in ("float32", "int8"))
    assert np.sqrt(np.mean((exact - rounded) ** 2)) < 0.1 * exact.std()


def test_the_summary_is_that_of_the_whole_vocabulary(model: Path, precision: Precision) -> None:
    backend = OnnxBackend(model, precision=precision)
    everything = range(len(backend.vocabulary))
    [[_, scores]] = backend.forward([Step(0, 0, [5, 6], [None, everything])])
    assert scores is not None
    row = scores.logits.astype(np.float64)
    assert scores.logsumexp == pytest.approx(row.max() + np.log(np.exp(row - row.max()).sum()), abs=1e-3)
    assert scores.best == row.argmax()


# ---- the same bits, whatever else runs


def test_no_bit_depends_on_how_the_tokens_come(model: Path, precision: Precision) -> None:
    """Any cut into steps, one by one included, any number of watched rows, a cache of any size."""
    backend = OnnxBackend(model, batch=3, precision=precision)
    ids, watch = IDS * 4, list(range(200, 300))
    whole = backend.forward([Step(0, 0, ids, [watch] * len(ids))])[0]
    chance = random.Random(0)
    for slot in (1, 2):
        at = 0
        while at < len(ids):
            step = min(chance.choice([1, 1, 2, 3, 4, 5, 8, 16, 17]), len(ids) - at)
            watches = [watch if chance.random() < 0.5 else None for _ in range(step)]
            if slot == 2:  # rejected tokens leave no trace
                backend.forward([Step(slot, at, chance.choices(ids, k=9), [None] * 9)])
            answers = backend.forward([Step(slot, at, ids[at : at + step], watches)])[0]
            for scores, expected in zip(answers, whole[at : at + step], strict=True):
                if scores is not None and expected is not None:
                    np.testing.assert_array_equal(scores.logits, expected.logits)
            at += step


def answers(ner: Annotator, texts: Sequence[Sentence], **more: Any) -> list[list[tuple[object, ...]]]:
    return [
        [(m.start, m.end, m.type, m.confidence) for m in result.sentence.mentions]
        for result in ner.run(texts, **more)
    ]


TEXTS = [Sentence(f"s{n}", text) for n, text in enumerate(dict.fromkeys(SENTENCES))]


def test_an_answer_depends_on_no_other_sentence(model: Path, lora: Path, precision: Precision) -> None:
    """Alone, after others, several at a time, and after a stop: the same bits."""
    options: dict[str, Any] = {
        "backend": "onnx",
        "precision": precision,
        "lora": lora,
        "notify": lambda _: None,
    }
    with Annotator.load(model, **options) as ner:
        after_others = answers(ner, TEXTS)
        alone = [answers(ner, [text])[0] for text in TEXTS]
    with Annotator.load(model, batch=3, **options) as ner:
        together = answers(ner, TEXTS[::-1])[::-1]
    with Annotator.load(model, **options) as ner:
        rest = answers(ner, TEXTS[2:])
    assert sum(map(len, alone)) > 0
    assert alone == after_others == together
    assert rest == alone[2:]


def test_it_finds_what_llama_cpp_finds(model: Path, lora: Path) -> None:
    found = {}
    for backend in ("onnx", "llamacpp"):
        more = {"precision": "float32"} if backend == "onnx" else {"threads": 1}
        with Annotator.load(model, backend=backend, lora=lora, notify=lambda _: None, **more) as ner:
            found[backend] = [[m[:3] for m in mentions] for mentions in answers(ner, TEXTS)]
    assert sum(map(len, found["onnx"])) > 0
    assert found["onnx"] == found["llamacpp"]
