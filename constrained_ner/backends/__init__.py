"""What runs a model, behind one protocol (`protocol.py`). Each back end is imported only when needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import MissingExtraError, ModelError
from .bundled_cpu.model_files import graph_path
from .gguf_file import is_gguf_file
from .installed import installed_file
from .protocol import Backend, LogitsBackend, Scores, Step, TextBackend
from .servers import connect, is_on_server

__all__ = [
    "Backend",
    "GgufBackendName",
    "LogitsBackend",
    "ModelKind",
    "Scores",
    "Step",
    "TextBackend",
    "load_backend",
    "model_kind",
    "onnx_takes",
]

_TAKEN: Mapping[str, frozenset[str]] = {
    "a GGUF model": frozenset(
        {"threads", "context", "batch", "gpu_layers", "lora", "cache", "extra_buffers"}
    ),
    "a model on bundled-cpu": frozenset({"threads", "context", "batch", "precision"}),
    "a model on onnx": frozenset({"threads", "context", "batch", "precision", "lora"}),
    "a transformers model": frozenset(
        {
            *("adapter", "quantize", "device", "dtype", "batch", "context", "trust_remote_code", "merge"),
            "threads",
        }
    ),
    "a model on a server": frozenset({"base_url", "server", "context", "batch", "timeout"}),
}
"""What each kind of model takes: the parameters of what loads it.

Written down, so that a wrong option is named before a package is missed that the right ones would need.
"""

ModelKind = Literal["server", "gguf", "transformers"]
GgufBackendName = Literal["auto", "bundled-cpu", "onnx", "llamacpp"]


def load_backend(
    model: str | Path, *, backend: GgufBackendName | None = None, **options: Any
) -> LogitsBackend | TextBackend:
    """Open a model: a GGUF file, a folder or hub id for transformers, `ollama:NAME` or `openai:NAME`.

    A GGUF file may be one in an installed package, `PACKAGE:FILE.gguf`. With an adapter of peft it is run by
    transformers, dequantised, which is how the adapter was trained.

    backend: what runs a GGUF file. "auto" and None: bundled-cpu if the file has a graph beside it, as the
        bundled model has, and the options are its own; otherwise llama.cpp. onnx runs what it is named for.
    options: those of the back end's class, or of `servers.connect`; None means the default.
    Raises ModelError if the model cannot be loaded or does not take one of the options.
    """
    kind = model_kind(model)
    if kind == "gguf":
        model = installed_file(model) or model
    if backend not in (None, "auto") and kind != "gguf":
        raise ModelError(f"{model}: --backend {backend} runs GGUF files only")
    if kind == "server":
        return connect(str(model), **_accepted("a model on a server", model, options))
    if kind == "gguf" and not options.get("adapter"):
        return _load_gguf(Path(model), backend or "auto", options)
    accepted = _accepted("a transformers model", model, options)
    try:
        from .transformers.backend import TransformersBackend
    except MissingExtraError as error:
        if Path(model).exists():
            raise
        raise ModelError(
            f"{model}: no such file or folder; to look for it on the Hugging Face hub: {error}"
        ) from None

    return TransformersBackend(str(model), **accepted)


def _load_gguf(path: Path, backend: GgufBackendName, options: dict[str, Any]) -> LogitsBackend:
    for file in (path, options.get("lora")):
        if file is not None and not Path(file).exists():  # before a package is asked for that reads it
            raise ModelError(f"{file}: no such model file")
    has_graph = graph_path(path, options.get("precision") or "int8").exists()
    fits = has_graph and not _unknown("a model on bundled-cpu", options)
    if backend == "bundled-cpu" or (backend == "auto" and fits):
        accepted = _accepted("a model on bundled-cpu", path, options)
        from .bundled_cpu.backend import BundledCpuBackend

        return BundledCpuBackend(path, **accepted)
    if backend == "onnx":
        accepted = _accepted("a model on onnx", path, options)
        from .onnx_cpu.backend import OnnxBackend

        return OnnxBackend(path, **accepted)
    accepted = _accepted("a GGUF model", path, options)
    from .llamacpp.backend import LlamaCppBackend

    return LlamaCppBackend(path, **accepted)


def onnx_takes(options: Mapping[str, Any]) -> bool:
    """Whether the back end onnx has its packages, and these options are among its own."""
    installed = all(importlib.util.find_spec(package) for package in ("onnx", "gguf", "llama_cpp"))
    return installed and not _unknown("a model on onnx", options)


def model_kind(model: str | Path) -> ModelKind:
    """What kind of model a name means.

    A GGUF file is recognised by its suffix, whether it exists or not, or by its first bytes.
    Raises ModelError for a path to nothing, and for a file that cannot be read.
    """
    name, path = str(model), Path(model)
    if is_on_server(name):
        return "server"
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        return "gguf"
    if path.is_file():
        if not is_gguf_file(path):
            raise ModelError(f"{model}: neither a GGUF file nor a model folder")
        return "gguf"
    if not path.exists() and _looks_like_path(name):
        raise ModelError(f"{model}: no such model file or folder")
    return "transformers"


def _looks_like_path(model: str) -> bool:
    """A hub id is `name` or `organisation/name`; everything else is a path."""
    return model.startswith(("/", ".", "~")) or model.endswith("/") or "\\" in model or model.count("/") > 1


def _accepted(kind: str, model: str | Path, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are set. Raises ModelError for one that this kind of model does not take."""
    for name in _unknown(kind, options):
        others = " and ".join(other for other, taken in _TAKEN.items() if name in taken)
        whose = f"; it is for {others}" if others else ""
        raise ModelError(f"{model}: {kind} does not take the option {name!r}{whose}")
    return {name: value for name, value in options.items() if value is not None}


def _unknown(kind: str, options: Mapping[str, Any]) -> list[str]:
    """The options that are set although this kind of model does not take them."""
    return [name for name, value in options.items() if value is not None and name not in _TAKEN[kind]]
