"""Exports models of every family: llama.cpp computes the same as transformers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

import transformers  # noqa: E402
from exportable_models import (  # noqa: E402
    write_model,
)
from exporting import (  # noqa: E402
    KINDS,
    ModelOf,
    assert_equal,
    expected_logits,
    gguf_logits,
    logits_of,
    write_adapter,
)

from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.cli import annotate, export_gguf  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402
from constrained_ner.export.to_gguf import export_lora, export_model  # noqa: E402
from constrained_ner.files import file_hash  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
def test_logits(model_of: ModelOf, kind: str, tmp_path: Path) -> None:
    expected = expected_logits(model_of(kind))
    for precision in ("f32", "f16"):
        path = tmp_path / f"{precision}.gguf"
        export_model(str(model_of(kind)), path, type=precision)  # type: ignore[arg-type]
        assert_equal(gguf_logits(path), expected, kind, precision)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f16.gguf", "f32.gguf"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_merged_and_as_a_lora(model_of: ModelOf, kind: str, tmp_path: Path) -> None:
    base = model_of(kind)
    adapter = write_adapter(tmp_path / "adapter", base)
    plain, merged, lora = (tmp_path / f"{name}.gguf" for name in ("plain", "merged", "lora"))
    export_model(str(base), plain, type="f32")
    export_model(str(base), merged, type="f32", adapter=str(adapter))
    export_lora(str(base), str(adapter), lora)
    expected = expected_logits(base, adapter)
    assert np.abs(expected - expected_logits(base)).max() > 1
    assert_equal(gguf_logits(merged), expected, kind, "f32")
    assert_equal(gguf_logits(plain, lora=lora), expected, kind, "f32")


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 9}, "rank_pattern": {"layers.1.mlp.down_proj": 2}},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
)
def test_every_adapted_weight_has_its_own_scale(
    model_of: ModelOf, settings: dict[str, Any], tmp_path: Path
) -> None:
    base = model_of("llama")
    adapter = write_adapter(tmp_path / "adapter", base, **settings)
    export_model(str(base), tmp_path / "plain.gguf", type="f32")
    export_model(str(base), tmp_path / "merged.gguf", type="f32", adapter=str(adapter))
    export_lora(str(base), str(adapter), tmp_path / "lora.gguf")
    expected = expected_logits(base, adapter)
    assert_equal(gguf_logits(tmp_path / "merged.gguf"), expected, "llama", "f32")
    assert_equal(gguf_logits(tmp_path / "plain.gguf", lora=tmp_path / "lora.gguf"), expected, "llama", "f32")


@pytest.mark.filterwarnings("ignore::UserWarning")  # peft's, about tied weights
@pytest.mark.parametrize(
    ("kind", "saved"),
    [("llama", ["embed_tokens", "lm_head"]), ("llama", ["embed_tokens"]), ("qwen2", ["embed_tokens"])],
)
def test_weights_that_an_adapter_replaces(
    model_of: ModelOf, kind: str, saved: list[str], tmp_path: Path
) -> None:
    base = model_of(kind)
    adapter = write_adapter(
        tmp_path / "adapter", base, target_modules=["v_proj", "gate_proj"], modules_to_save=saved
    )
    export_model(str(base), tmp_path / "merged.gguf", type="f32", adapter=str(adapter))
    assert_equal(gguf_logits(tmp_path / "merged.gguf"), expected_logits(base, adapter), kind, "f32")
    with pytest.raises(
        ModelError, match=r"replaces .*(embed_tokens|lm_head)\.weight, which a GGUF LoRA cannot do"
    ):
        export_lora(str(base), str(adapter), tmp_path / "lora.gguf")
    assert not (tmp_path / "lora.gguf").exists()


ROTATIONS = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *(("llama", {"rope_parameters": {"rope_theta": 100.0, **value}}) for value in ROTATIONS.values()),
        ("qwen2", {"rope_parameters": {"rope_theta": 100.0, **ROTATIONS["yarn"]}}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
        ("mistral", {"num_key_value_heads": 4, "head_dim": 24}),
    ],
)
def test_settings_of_the_configuration(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", kind, **changes)
    export_model(str(base), tmp_path / "x.gguf", type="f32")
    assert_equal(gguf_logits(tmp_path / "x.gguf"), expected_logits(base), kind, "f32")


def test_an_unsupported_window_limits_the_context(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "mistral", sliding_window=48)
    written = export_model(str(base), tmp_path / "x.gguf", type="f32")
    assert written.notes == (
        "llama.cpp's llama has no sliding window, so the context is limited to the window: "
        "48 tokens instead of 1024",
    )
    backend = LlamaCppBackend(tmp_path / "x.gguf", threads=1)
    assert backend.context_length == 48
    assert_equal(logits_of(backend), expected_logits(base), "mistral", "f32")


def test_shards_are_read_as_one(model_of: ModelOf, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(model_of("llama"))
    transformers.AutoTokenizer.from_pretrained(model_of("llama")).save_pretrained(tmp_path / "shards")
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    export_model(str(model_of("llama")), tmp_path / "one.gguf")
    export_model(str(tmp_path / "shards"), tmp_path / "many.gguf")
    one, many = (gguf.GGUFReader(tmp_path / name) for name in ("one.gguf", "many.gguf"))
    for left, right in zip(one.tensors, many.tensors, strict=True):
        assert (left.name, left.data.tobytes()) == (right.name, right.data.tobytes())


# ---- smaller types


def test_q8_0_and_bf16(model_of: ModelOf, tmp_path: Path) -> None:
    expected = expected_logits(model_of("llama"))
    # Most rows have 48 numbers, one and a half blocks of 32, so they stay in float16.
    written = export_model(str(model_of("llama")), tmp_path / "q8.gguf", type="q8_0")
    assert written.kinds == {"F16": 12, "F32": 5, "Q8_0": 4}
    np.testing.assert_allclose(gguf_logits(tmp_path / "q8.gguf"), expected, atol=0.2)
    written = export_model(str(model_of("llama")), tmp_path / "bf16.gguf", type="bf16")
    assert written.kinds == {"BF16": 16, "F32": 5}
    np.testing.assert_allclose(gguf_logits(tmp_path / "bf16.gguf"), expected, atol=0.2)


def test_q4_k_m(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "llama", wide=True)
    adapter = write_adapter(tmp_path / "adapter", base)
    path = tmp_path / "x.gguf"
    written = export_model(str(base), path, type="q4_k_m", adapter=str(adapter), threads=1)
    assert written.kinds.keys() == {"Q4_K", "Q6_K", "F32"}
    assert written.kinds["Q4_K"] > written.kinds["Q6_K"]
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_K_M
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter", "base", "x.gguf"]
    expected, got = expected_logits(base, adapter), gguf_logits(path)
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.8  # random weights tolerate rounding badly
    export_model(str(base), tmp_path / "exact.gguf", type="f32", adapter=str(adapter))
    exact = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "exact.gguf").tensors}
    assert exact.keys() == {tensor.name for tensor in reader.tensors}
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        error = np.abs(weights - exact[tensor.name]).mean()
        assert error < 0.1 * np.abs(exact[tensor.name]).mean()


# ---- the command


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_command(
    model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, plain, lora = model_of("qwen2"), tmp_path / "plain.gguf", tmp_path / "lora.gguf"
    adapter = write_adapter(tmp_path / "adapter", base)
    assert run(export_gguf.main, monkeypatch, "--model", base, "--out", plain) == 0
    assert re.search(r"plain\.gguf: qwen2, 0\.\d MB, tensors: 15 F16, 11 F32\n$", capsys.readouterr().err)
    options = ("--model", base, "--adapter", adapter, "--lora-only")
    assert run(export_gguf.main, monkeypatch, *options, "--out", lora, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    sample = Path(__file__).parents[2] / "examples" / "sample.xml"
    options = (sample, tmp_path / "out", "--model", plain, "--lora", lora, "--limit", 2, "--threads", 1)
    assert run(annotate.main, monkeypatch, *options) == 0
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["options"]["model"]["lora_sha256"] == file_hash(lora)
    capsys.readouterr()
    for wrong, reason in (
        (
            ("--model", base, "--out", lora, "--lora-only"),
            "--lora-only writes an adapter; name it with --adapter",
        ),
        (("--model", tmp_path / "absent", "--out", plain), "no such folder"),
        (("--model", base, "--out", tmp_path / "a" / "b.gguf"), "there is no folder"),
    ):
        assert run(export_gguf.main, monkeypatch, *wrong) == 2
        assert re.fullmatch(rf"error: .*{reason}.*\n", capsys.readouterr().err)
