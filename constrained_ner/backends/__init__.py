"""Models behind one protocol (`base.py`); each back end is imported only when one of its models is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .protocol import LogitsBackend, Scores, Step
from .servers import is_remote, load_remote
from .text_protocol import TextBackend

__all__ = ["LogitsBackend", "Scores", "Step", "TextBackend", "is_gguf", "load_backend"]


def load_backend(model: str | Path, **options: Any) -> LogitsBackend | TextBackend:
    """Open a model: a GGUF file through llama.cpp, a folder or a hub id through transformers, and on a server
    `ollama:NAME` or `openai:NAME`.

    options go to LlamaCppBackend, TransformersBackend or load_remote; None means the default.
    Raises ModelError where the model cannot be loaded or does not take one of the options.
    """
    if is_remote(str(model)):
        return load_remote(str(model), **_accepted(load_remote, model, "a model on a server", options))
    if is_gguf(model):
        from .llamacpp.backend import LlamaCppBackend

        return LlamaCppBackend(model, **_accepted(LlamaCppBackend, model, "a GGUF model", options))
    if not Path(model).exists() and _looks_like_path(str(model)):
        raise ModelError(f"{model}: no such model file or folder")
    from .transformers.backend import TransformersBackend

    return TransformersBackend(
        str(model), **_accepted(TransformersBackend, model, "a transformers model", options)
    )


def is_gguf(model: str | Path) -> bool:
    """Whether this names a GGUF file: by its suffix, whether it exists or not, or by its first bytes."""
    path = Path(model)
    if path.suffix.lower() == ".gguf":
        return not path.is_dir()
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None


def _looks_like_path(model: str) -> bool:
    """A hub id is `name` or `organisation/name`; everything else is meant as a path."""
    return model.startswith(("/", ".", "~")) or model.endswith("/") or "\\" in model or model.count("/") > 1


def _accepted(
    backend: Callable[..., Any], model: str | Path, kind: str, options: dict[str, Any]
) -> dict[str, Any]:
    """The options that are set, after refusing those that the back end does not know."""
    known = inspect.signature(backend).parameters
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            raise ModelError(f"{model}: {kind} does not take the option {name!r}")
    return given
