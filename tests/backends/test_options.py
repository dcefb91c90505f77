"""Which options each kind of model takes: what the classes say, and a wrong one is named before all else."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path

import pytest

from constrained_ner.backends import _TAKEN, load_backend
from constrained_ner.errors import ModelError

LOADERS = {
    "a GGUF model": ("llamacpp.backend", "LlamaCppBackend"),
    "a model on bundled-cpu": ("bundled_cpu.backend", "BundledCpuBackend"),
    "a model on onnx": ("onnx_cpu.backend", "OnnxBackend"),
    "a transformers model": ("transformers.backend", "TransformersBackend"),
    "a model on a server": ("servers", "connect"),
}
PACKAGES = {
    "llamacpp.backend": ["llama_cpp"],
    "onnx_cpu.backend": ["llama_cpp", "onnx"],
    "transformers.backend": ["transformers"],
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_options_of_a_kind_are_those_of_what_loads_it(kind: str) -> None:
    module, name = LOADERS[kind]
    for package in PACKAGES.get(module, []):
        pytest.importorskip(package)
    loader = getattr(import_module(f"constrained_ner.backends.{module}"), name)
    _model, *options = inspect.signature(loader).parameters
    assert _TAKEN[kind] == set(options)


@pytest.mark.parametrize(
    ("model", "option", "message"),
    [
        (
            "m.gguf",
            {"device": "cpu"},
            "a GGUF model does not take the option 'device'; it is for a transformers",
        ),
        (
            "folder",
            {"lora": "m.gguf"},
            "a transformers model does not take the option 'lora'; it is for a GGUF",
        ),
        (
            "some/hub-id",
            {"extra_buffers": True},
            "a transformers model does not take the option 'extra_buffers'; it is for a",
        ),
        (
            "openai:m",
            {"lora": "m.gguf"},
            "a model on a server does not take the option 'lora'; it is for a GGUF",
        ),
        ("openai:m", {"foo": 1}, "a model on a server does not take the option 'foo'$"),
    ],
)
def test_a_wrong_option_is_named_before_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, option: dict[str, object], message: str
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for missing in ("llama_cpp", "transformers", "torch", "openai"):
        monkeypatch.setitem(sys.modules, missing, None)
    for module in ("llamacpp.backend", "transformers.backend", "servers.connection"):
        monkeypatch.setitem(sys.modules, f"constrained_ner.backends.{module}", None)
    with pytest.raises(ModelError, match=message):
        load_backend(model, **option)  # type: ignore[arg-type]
