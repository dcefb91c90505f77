"""The models that ship, as they are used: the bundled one, and adapters by name.

`--model NAME` is the base model with `bundled/adapters/NAME.gguf`. The adapter's own card says which base it
was trained on: a file in an installed package.
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path

from ..adapters import AdapterCard
from ..backends import onnx_takes
from ..backends.gguf_file import ADAPTER_KEY, GgufFile
from ..errors import ModelError
from .settings import Settings

ADAPTERS = Path(str(resources.files("constrained_ner"))) / "bundled" / "adapters"


def shipped_names() -> list[str]:
    """Example: ["gemma3-270m", "smollm2"]"""
    return sorted(path.stem for path in ADAPTERS.glob("*.gguf"))


def as_shipped(settings: Settings) -> Settings:
    """The settings with what a model that ships brings; those for any other model unchanged.

    It brings the public names as a prior, unless the settings say otherwise: in cross-validation, every model
    that was trained here is better with them (see docs/lexicon.md). An adapter's name becomes its base and
    its file. A file or folder of that name comes first. Raises ModelError for another adapter beside it.
    """
    name = settings.model
    if name is None:
        return _with_public_names(settings)
    if name not in shipped_names() or Path(name).exists():
        return settings
    if settings.adapter or settings.lora:
        raise ModelError(f"{name}: has an adapter of its own; name its base model to use another")
    path = ADAPTERS / f"{name}.gguf"
    card = AdapterCard.parse(str(GgufFile(path, weights=False).metadata[ADAPTER_KEY]), path)
    return _with_public_names(
        _on_onnx(dataclasses.replace(settings, model=card.base_model.name, lora=str(path)))
    )


def _on_onnx(settings: Settings) -> Settings:
    """The settings with the faster back end for these models, if it can be used and none was chosen."""
    options = {name: value for name, value in settings.model_options().items() if name != "backend"}
    if settings.backend != "auto" or not onnx_takes(options):
        return settings
    return dataclasses.replace(settings, backend="onnx")


def _with_public_names(settings: Settings) -> Settings:
    chosen = settings.lexicon is not None or settings.schema is not None
    if chosen or not settings.constrained or settings.engine != "native":
        return settings
    return dataclasses.replace(settings, lexicon="public")
