"""`--model NAME` for an adapter that ships: its base comes from an installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.adapters import AdapterCard
from constrained_ner.annotation import shipped
from constrained_ner.annotation.settings import Settings
from constrained_ner.annotation.shipped import as_shipped, shipped_names
from constrained_ner.backends.gguf_file import ADAPTER_KEY
from constrained_ner.errors import ModelError
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "adapters" / "small.gguf"
    path.parent.mkdir()
    card = AdapterCard.of({"name": "some_package:base.gguf"}, DDI, PromptFile.built_in("bare"), None)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string(ADAPTER_KEY, card.model_dump_json())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    monkeypatch.setattr(shipped, "ADAPTERS", path.parent)
    return path


def test_a_name_stands_for_base_and_adapter(adapter: Path) -> None:
    assert shipped_names() == ["small"]
    found = as_shipped(Settings(model="small", backend="llamacpp", threads=2))
    expected = {"model": "some_package:base.gguf", "lora": str(adapter), "lexicon": "public"}
    assert found == Settings(backend="llamacpp", threads=2, **expected)


@pytest.mark.parametrize(
    ("options", "installed", "chosen"),
    [
        ({}, True, "onnx"),
        ({"precision": "float32"}, True, "onnx"),
        ({}, False, "auto"),
        ({"extra_buffers": True}, True, "auto"),  # which only llama.cpp takes
        ({"backend": "llamacpp"}, True, "llamacpp"),
    ],
)
def test_onnx_runs_it_where_it_can(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], installed: bool, chosen: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _package: installed or None)
    assert as_shipped(Settings(model="small", **options)).backend == chosen


def test_any_other_model_is_left_alone(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in (Settings(model="other.gguf"), Settings(model="other", lora="x.gguf")):
        assert as_shipped(settings) is settings
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert as_shipped(Settings(model="small")).lora is None


def test_another_adapter_beside_it_is_refused(adapter: Path) -> None:
    with pytest.raises(ModelError, match="small: has an adapter of its own; name its base model"):
        as_shipped(Settings(model="small", lora="x.gguf"))
