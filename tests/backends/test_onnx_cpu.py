"""GGUFs through ONNX Runtime: the scores of llama.cpp, and the same bits whatever else runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

gguf = pytest.importorskip("gguf")
for package in ("onnx", "llama_cpp", "tokenizers"):
    pytest.importorskip(package)

from interleavings import check_that_no_bit_depends_on_the_cut  # noqa: E402
from tiny_decoders import N_HIDDEN, write_decoder, write_lora  # noqa: E402
from tiny_models import SENTENCES  # noqa: E402

from constrained_ner import Annotator, Sentence  # noqa: E402
from constrained_ner.annotation.annotator import bundled_model  # noqa: E402
from constrained_ner.backends import load_backend  # noqa: E402
from constrained_ner.backends.bundled_cpu.backend import BundledCpuBackend  # noqa: E402
from constrained_ner.backends.bundled_cpu.model_files import Precision  # noqa: E402
from constrained_ner.backends.gguf_file import GgufFile  # noqa: E402
from constrained_ner.backends.gguf_types import bytes_of_row, unpacked  # noqa: E402
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.backends.onnx_cpu.backend import OnnxBackend  # noqa: E402
from constrained_ner.backends.protocol import LogitsBackend, Step  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402

IDS = np.random.default_rng(0).integers(3, 390, 40).tolist()
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tied": False}),
    "llama, positions scaled": ("llama", {"factor": 4.0}),
    "qwen3": ("qwen3", {}),
    "gemma3": ("gemma3", {"head_size": 256, "n_layers": 6, "window": 512}),
    "gemma3, a short window": ("gemma3", {"n_layers": 6, "window": 7, "factor": 8.0}),
}


class Made(NamedTuple):
    architecture: str
    model: Path
    lora: Path


@pytest.fixture(scope="module", params=SHAPES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model in float32 and a LoRA for it."""
    architecture, sizes = SHAPES[request.param]
    folder = tmp_path_factory.mktemp("decoder")
    model = write_decoder(folder / "model.gguf", architecture, **sizes)
    shared = {name: sizes[name] for name in ("head_size", "n_layers") if name in sizes}
    return Made(architecture, model, write_lora(folder / "lora.gguf", architecture, **shared))


@pytest.fixture(scope="module", params=["int8", "float32"])
def precision(request: pytest.FixtureRequest) -> Precision:
    chosen: Precision = request.param
    return chosen


def logits_of(backend: LogitsBackend, ids: Sequence[int] = IDS) -> NDArray[np.float32]:
    """Shape: (positions, tokens)."""
    every = range(len(backend.vocabulary))
    [found] = backend.forward([Step(0, 0, ids, [every] * len(ids), summary=False)])
    return np.stack([scores.logits for scores in found if scores is not None])


# ---- the scores


@pytest.mark.parametrize("adapted", [False, True], ids=["alone", "with a LoRA"])
def test_float32_has_the_scores_of_llama_cpp(made: Made, adapted: bool) -> None:
    """ggml looks up the GELU of Gemma in a float16 table."""
    lora = made.lora if adapted else None
    found = logits_of(OnnxBackend(made.model, lora=lora, precision="float32"))
    expected = logits_of(LlamaCppBackend(made.model, lora=lora, threads=1, cache="f32"))
    assert expected.std() > 1
    np.testing.assert_allclose(found, expected, atol=0.02 if made.architecture == "gemma3" else 1e-4)


def test_a_lora_matters(made: Made) -> None:
    alone, adapted = (logits_of(OnnxBackend(made.model, lora=lora)) for lora in (None, made.lora))
    assert np.abs(alone - adapted).max() > 0.5


def test_int8_stays_close(made: Made) -> None:
    exact, rounded = (logits_of(OnnxBackend(made.model, precision=p)) for p in ("float32", "int8"))
    assert np.sqrt(np.mean((exact - rounded) ** 2)) < 0.1 * exact.std()


def test_an_outlier_that_a_norm_makes_small_does_not_spoil_int8(tmp_path: Path) -> None:
    """As in Gemma 3: one number of every row is a hundred times the others, and the norms all but drop it."""
    sizes = {"n_layers": 6, "window": 512}
    plain = GgufFile(write_decoder(tmp_path / "plain.gguf", "gemma3", **sizes))
    changed = {name: plain.tensor(name) for name in plain.tensor_names if name.endswith("_norm.weight")}
    changed = {name: norm for name, norm in changed.items() if len(norm) == N_HIDDEN and "post" not in name}
    changed["token_embd.weight"] = plain.tensor("token_embd.weight")
    changed["token_embd.weight"][:, 5] = 300
    for name, norm in changed.items():
        if name.endswith("_norm.weight"):
            norm[5] = 0.001
    model = write_decoder(tmp_path / "outlier.gguf", "gemma3", more=changed, **sizes)
    exact, rounded = (logits_of(OnnxBackend(model, precision=p)) for p in ("float32", "int8"))
    assert np.sqrt(np.mean((exact - rounded) ** 2)) < 0.1 * exact.std()


def test_the_bundled_model_has_the_scores_of_its_own_graph() -> None:
    own = logits_of(BundledCpuBackend(bundled_model(), precision="float32"))
    np.testing.assert_allclose(logits_of(OnnxBackend(bundled_model(), precision="float32")), own, atol=5e-3)


def test_the_summary_is_that_of_the_whole_vocabulary(made: Made) -> None:
    backend = OnnxBackend(made.model)
    everything = range(len(backend.vocabulary))
    [[_, scores]] = backend.forward([Step(0, 0, [5, 6], [None, everything])])
    assert scores is not None
    row = scores.logits.astype(np.float64)
    assert scores.logsumexp == pytest.approx(row.max() + np.log(np.exp(row - row.max()).sum()), abs=1e-3)
    assert scores.best == row.argmax()


# ---- the same bits, whatever else runs


def test_no_bit_depends_on_how_the_tokens_come(made: Made, precision: Precision) -> None:
    backend = OnnxBackend(made.model, batch=3, precision=precision)
    check_that_no_bit_depends_on_the_cut(backend, IDS * 8, range(200, 300))


TEXTS = [Sentence(f"s{n}", text) for n, text in enumerate(dict.fromkeys(SENTENCES))]


def answers(ner: Annotator, texts: Sequence[Sentence]) -> list[list[tuple[object, ...]]]:
    return [
        [(m.start, m.end, m.type, m.confidence) for m in result.sentence.mentions]
        for result in ner.run(texts)
    ]


def load(made: Made, **options: Any) -> Annotator:
    return Annotator.load(made.model, lora=made.lora, notify=lambda _: None, **options)


def test_an_answer_depends_on_no_other_sentence(made: Made, precision: Precision) -> None:
    """Alone, after others, several at a time, and after a stop: the same bits."""
    with load(made, backend="onnx", precision=precision) as ner:
        after_others = answers(ner, TEXTS)
        alone = [answers(ner, [text])[0] for text in TEXTS]
    with load(made, backend="onnx", precision=precision, batch=3) as ner:
        together = answers(ner, TEXTS[::-1])[::-1]
    with load(made, backend="onnx", precision=precision) as ner:
        rest = answers(ner, TEXTS[2:])
    assert alone == after_others == together
    assert rest == alone[2:]


def test_it_finds_what_llama_cpp_finds(made: Made) -> None:
    with (
        load(made, backend="onnx", precision="float32") as ours,
        load(made, backend="llamacpp", threads=1) as theirs,
    ):
        found, expected = ([[m[:3] for m in of] for of in answers(ner, TEXTS)] for ner in (ours, theirs))
    assert found == expected


# ---- what it reads, and what it refuses


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1", "Q5_0"])
def test_numbers_are_those_of_the_package_gguf(kind: str) -> None:
    number = gguf.GGMLQuantizationType[kind]
    rows = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    packed = np.ascontiguousarray(gguf.quants.quantize(rows, number)).view(np.uint8).reshape(3, -1)
    assert packed.shape[1] == bytes_of_row(int(number), 64)
    np.testing.assert_array_equal(unpacked(packed, int(number)), gguf.quants.dequantize(packed, number))


def test_an_unknown_type_of_numbers() -> None:
    with pytest.raises(ModelError, match="numbers of the unknown type 999"):
        bytes_of_row(999, 64)


def test_an_architecture_that_it_does_not_know(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "m.gguf", "gptj")
    with pytest.raises(
        ModelError, match=r"m\.gguf: --backend onnx runs llama, .* and this is gptj; use --backend llamacpp$"
    ):
        load_backend(model, backend="onnx")


def test_a_tensor_that_it_does_not_know(tmp_path: Path) -> None:
    more = {"blk.0.attn_q.bias": np.zeros(64, np.float32)}
    model = write_decoder(tmp_path / "m.gguf", "llama", more=more)
    with pytest.raises(
        ModelError,
        match=r"m\.gguf: --backend onnx cannot run a model with the tensor blk\.0\.attn_q\.bias",
    ):
        load_backend(model, backend="onnx")


def test_a_lora_of_another_model(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "m.gguf", "llama")
    for name, architecture, sizes, message in (
        ("arch", "qwen3", {}, "it is for qwen3, not llama"),
        ("deep", "llama", {"n_layers": 3}, "which has no tensor 'blk.2.attn_k.weight'"),
        ("wide", "llama", {"head_size": 32}, "blk.0.attn_q.weight has the shape"),
    ):
        lora = write_lora(tmp_path / f"{name}.gguf", architecture, **sizes)
        with pytest.raises(ModelError, match=rf"{name}\.gguf: not a LoRA for .*m\.gguf.*{message}"):
            load_backend(model, backend="onnx", lora=lora)
    with pytest.raises(ModelError, match=r"m\.gguf: not a LoRA for .*m\.gguf: its adapter\.type is None"):
        load_backend(model, backend="onnx", lora=model)


def test_close_frees_the_model_and_later_use_is_a_clear_error(made: Made) -> None:
    backend = OnnxBackend(made.model, lora=made.lora)
    about = backend.description
    assert about["lora"] == "lora.gguf"
    assert about["lora_sha256"] == backend.identity["lora_sha256"]
    backend.close()
    backend.close()
    with pytest.raises(ModelError, match=r"model\.gguf: the model is closed"):
        backend.forward([Step(0, 0, [1], [None])])
    assert backend.description == about
