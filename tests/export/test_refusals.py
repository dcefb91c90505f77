"""What cannot be exported is refused in one sentence, and no file is left behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

import torch  # noqa: E402
from exportable_models import (  # noqa: E402
    word_tokenizer,
    write_model,
)
from exporting import (  # noqa: E402
    ModelOf,
    write_adapter,
)
from full_disk import file_size_limit  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_models import byte_level_tokenizer, write_transformers  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402

from constrained_ner.errors import ModelError, OutputError  # noqa: E402
from constrained_ner.export import gguf as gguf_file  # noqa: E402
from constrained_ner.export import tokenizer  # noqa: E402
from constrained_ner.export.to_gguf import export_lora, export_model  # noqa: E402


def test_other_kinds_of_models(tmp_path: Path) -> None:
    base = write_transformers(tmp_path / "base", "gpt2")
    hint = r"gpt2 models cannot be exported here; .*: python convert_hf_to_gguf\.py .*base --outfile x\.gguf$"
    with pytest.raises(ModelError, match=hint):
        export_model(str(base), Path("x.gguf"))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("llama", {"hidden_act": "gelu"}, "its activation is gelu, which llama.cpp's llama does not support"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "its rotation is scaled by the method dynamic",
        ),
        ("qwen3", {"attention_bias": True}, "its attention has biases"),
        ("gemma2", {"query_pre_attn_scalar": 5}, "query_pre_attn_scalar 5, but llama.cpp assumes 16"),
        ("gemma2", {"layer_types": ["full_attention"] * 3}, "sliding windows in other layers"),
        ("gemma2", {"final_logit_softcapping": None}, "without soft caps"),
    ],
)
def test_configurations_that_llama_cpp_does_not_support(
    kind: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "base", kind, **changes)
    with pytest.raises(ModelError, match=re.escape(reason)):
        export_model(str(base), tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_unknown_ways_of_splitting_words(tmp_path: Path) -> None:
    cases = {
        r"splits text in an unknown way, .*: \\w\+": word_tokenizer(r"\w+"),
        "a tokenizer of type WordLevel, but only BPE": Tokenizer(
            models.WordLevel({"a": 0, "<|im_end|>": 1}, unk_token="a")
        ),
    }
    for n, (reason, one) in enumerate(cases.items()):
        one.decoder = byte_level_tokenizer().decoder
        base = write_transformers(tmp_path / str(n), "llama", one)
        with pytest.raises(ModelError, match=reason):
            export_model(str(base), tmp_path / "x.gguf")


def test_a_file_with_another_tokenisation_is_not_kept(
    model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "pre_tokenizer_name", lambda *_: "smollm")
    (tmp_path / "x.gguf").write_text("an earlier one")
    with pytest.raises(
        ModelError, match=r"does not tokenise .* so the file is not kept: .* instead of .* from"
    ):
        export_model(str(model_of("llama")), tmp_path / "x.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]
    assert (tmp_path / "x.gguf").read_text() == "an earlier one"


def changed_weights(base: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda w: w.pop("model.layers.1.mlp.up_proj.weight"),
            r"1 tensors are missing from the weights, .*up_proj",
        ),
        (lambda w: w["model.norm.weight"].fill_(float("nan")), "output_norm.weight: some weights are NaN"),
        (
            lambda w: w["lm_head.weight"].fill_(1e6),
            r"output\.weight: 1e\+06 is too large for float16; choose",
        ),
        (
            lambda w: w.update({"lm_head.weight": torch.zeros(5, 48)}),
            r"lm_head\.weight has the shape \(5, 48\), but the configuration says",
        ),
        (
            lambda w: w.update({"lm_head.weight": w["lm_head.weight"].to(torch.int8)}),
            r"lm_head\.weight is torch\.int8",
        ),
    ],
)
def test_damaged_weights(
    model_of: ModelOf, change: Callable[[dict[str, torch.Tensor]], None], reason: str, tmp_path: Path
) -> None:
    base = changed_weights(model_of("llama"), tmp_path / "base", change)
    with pytest.raises(ModelError, match=reason):
        export_model(str(base), tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_missing_and_broken_files(model_of: ModelOf, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "x.gguf"
    with pytest.raises(ModelError, match="absent: no such folder"):
        export_model(str(tmp_path / "absent"), out)
    shutil.copytree(model_of("llama"), base)
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors: not a readable safetensors file"):
        export_model(str(base), out)
    (base / "model.safetensors").rename(base / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing, but .*index"):
        export_model(str(base), out)
    assert not out.exists()


def test_no_room_on_the_disk(model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.gguf"
    little = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patched:
        patched.setattr(gguf_file.shutil, "disk_usage", lambda _: little)
        with pytest.raises(OutputError, match=r"x\.gguf: needs 0\.1 GB, but the disk has 0\.0 GB left"):
            export_model(str(model_of("llama")), out)
    with file_size_limit(50_000), pytest.raises(OutputError, match=r"x\.gguf: cannot be written: "):
        export_model(str(model_of("llama")), out)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="it is a folder"):
        export_model(str(model_of("llama")), tmp_path)


def test_adapters_that_cannot_be_exported(model_of: ModelOf, tmp_path: Path) -> None:
    base, other = str(model_of("llama")), str(model_of("mistral"))
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    out = tmp_path / "x.gguf"
    wide = write_model(tmp_path / "wide", "llama", wide=True)
    with pytest.raises(ModelError, match=r"adapter: model\..* is 256 x \d+ in the base model, the adapter"):
        export_lora(str(wide), str(adapter), out)
    with pytest.raises(ModelError, match="no such adapter folder"):
        export_model(other, out, adapter=str(tmp_path / "absent"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    for changes, reason in (
        ({"use_dora": True}, "a LoRA with use_dora"),
        ({"peft_type": "IA3"}, "an adapter of type IA3"),
        ({"init_lora_weights": "pissa"}, "a LoRA initialised with pissa, which changes the base model"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps(config | changes))
        with pytest.raises(ModelError, match=reason):
            export_model(base, out, adapter=str(adapter))
    assert not out.exists()
