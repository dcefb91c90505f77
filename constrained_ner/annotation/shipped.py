"""Adapters that ship with the package: `--model NAME` is the base model with `bundled/adapters/NAME.gguf`.

The adapter's own card says which base it was trained on: a file in an installed package.
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any

from ..adapters import AdapterCard
from ..backends.gguf_file import ADAPTER_KEY, GgufFile
from ..errors import ModelError
from .settings import Settings

ADAPTERS = Path(str(resources.files("constrained_ner"))) / "bundled" / "adapters"

_LEXICON: dict[str, dict[str, Any]] = {
    "gemma3-270m": {"lexicon": "public", "lexicon_weight": {"open": 0.0, "type": 5.0, "close": 0.0}}
}
"""What the lexicon is worth to an adapter, cross-validated (see docs/lexicon.md); for others it is off."""


def shipped_names() -> list[str]:
    """Example: ["gemma3-270m", "smollm2"]"""
    return sorted(path.stem for path in ADAPTERS.glob("*.gguf"))


def with_shipped_adapter(settings: Settings) -> Settings:
    """The settings with base and adapter in the place of a name of `shipped_names`; any others unchanged.

    A file or folder of that name comes first. Raises ModelError for an adapter beside it.
    """
    name = settings.model
    if name not in shipped_names() or Path(name).exists():
        return settings
    if settings.adapter or settings.lora:
        raise ModelError(f"{name}: has an adapter of its own; name its base model to use another")
    path = ADAPTERS / f"{name}.gguf"
    card = AdapterCard.parse(str(GgufFile(path, weights=False).metadata[ADAPTER_KEY]), path)
    found = dataclasses.replace(settings, model=card.base_model.name, lora=str(path))
    if settings.lexicon is None and settings.constrained and settings.engine == "native":
        found = dataclasses.replace(found, **_LEXICON.get(name, {}))
    return found
