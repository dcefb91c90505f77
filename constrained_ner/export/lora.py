"""Reads a LoRA adapter of peft from its folder: what it adds to a weight, and which weights it replaces.

The weights of a module with an adapter are W + scale * B @ A, where scale is alpha / r, or alpha / sqrt(r)
for rank-stabilised adapters (Kalajdzievski 2023). `modules_to_save` of peft replace whole weights. Adapters
that change the model in any other way (DoRA, adapters on embeddings, ...) are refused.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..adapters import AdapterCard
from ..backends.transformers.adapter import check_adapter
from ..errors import ModelError
from ..files import reason
from .checkpoint import SafetensorsReader, fetched

_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_UNSUPPORTED = (
    "use_dora",
    "use_qalora",
    "fan_in_fan_out",
    "layer_replication",
    "alora_invocation_tokens",
    "target_parameters",
)
_INITIAL_WEIGHTS_KEEP_BASE = (True, False, None, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class Product:
    """What an adapter adds to one weight: scale * B @ A. Shapes: A (rank, n_in), B (n_out, rank)."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float

    @property
    def value(self) -> NDArray[np.float32]:
        """Shape: (n_out, n_in)."""
        product: NDArray[np.float32] = (self.b @ self.a) * np.float32(self.scale)
        return product


class LoraAdapter:
    """An adapter's folder, checked. Weights have their names in the base model and are read on demand.

    adapted: names of weights to which a product is added.
    """

    def __init__(self, name: str) -> None:
        check_adapter(name)
        self.name = name
        self.folder = fetched(name)
        check_adapter(str(self.folder))
        self._config = _read_config(self.folder)
        self._reader = SafetensorsReader.of_file(self.folder / "adapter_model.safetensors")
        stored = self._reader.names()
        self.adapted = [_base_name(name, _A) for name in stored if name.endswith(_A)]
        self._whole = {_base_name(name): name for name in stored if not name.endswith((_A, _B))}

    @property
    def replaced(self) -> list[str]:
        """Names of weights that the adapter replaces. A product may be added to them too."""
        return list(self._whole)

    @property
    def alpha(self) -> float:
        """The numerator of the scale, for every weight that `alpha_pattern` does not mention."""
        return float(self._config["lora_alpha"])

    @property
    def card(self) -> AdapterCard | None:
        """What it was trained for, if its folder has a card. Raises InputError."""
        return AdapterCard.load(self.folder)

    def tokenizer_folder(self) -> Path | None:
        """Return the folder of the adapter's own tokenizer, if it has one."""
        return self.folder if (self.folder / "tokenizer.json").is_file() else None

    def check_fits(self, shapes: dict[str, tuple[int, ...]], *, tied: bool) -> None:
        """Raise ModelError unless every weight of the adapter belongs to a model with these weights."""
        for name in (*self.adapted, *self.replaced):
            if name not in shapes:
                raise ModelError(
                    f"{self.name}: the base model has no weight {name}, or this is not a plain LoRA"
                )
        for name in self.adapted:
            n_out, n_in = shapes[name]
            a, b = (self._reader.shape(stored) for stored in self._stored(name))
            if a != (b[1], n_in) or b[0] != n_out:
                raise ModelError(
                    f"{self.name}: {name} is {n_out} x {n_in} in the base model, "
                    f"the adapter's factors are {a[0]} x {a[1]} and {b[0]} x {b[1]}"
                )
        if tied and "lm_head.weight" in self.adapted:
            raise ModelError(
                f"{self.name}: adapts lm_head, which shares its weights with the base model's embeddings, "
                "so merging would change both"
            )

    def product(self, name: str) -> Product:
        """Read what is added to a weight of `adapted`."""
        a, b = (self._reader.read(stored) for stored in self._stored(name))
        rank, module = len(a), name.removesuffix(".weight")
        alpha = _by_pattern(self._config.get("alpha_pattern") or {}, module, self.alpha)
        return Product(a, b, alpha / (math.sqrt(rank) if self._config.get("use_rslora") else rank))

    def rank(self, name: str) -> int:
        return self._reader.shape(self._stored(name)[0])[0]

    def replacement(self, name: str) -> NDArray[np.float32]:
        """Read a weight of `replaced`."""
        return self._reader.read(self._whole[name])

    def replacement_shape(self, name: str) -> tuple[int, ...]:
        return self._reader.shape(self._whole[name])

    def _stored(self, name: str) -> tuple[str, str]:
        module = _PREFIX + name.removesuffix(".weight")
        return module + _A, module + _B


def _base_name(stored: str, suffix: str = ".weight") -> str:
    """Translate peft's name of a weight to the base model's. peft wraps the modules that it adapts."""
    module = stored.removeprefix(_PREFIX).removesuffix(suffix)
    return module.removesuffix(".base_layer") + (".weight" if stored.endswith(suffix) else "")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {reason(error)}") from None
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{folder}: an adapter of type {config.get('peft_type')}, but only LoRA can be exported"
        )
    for setting in _UNSUPPORTED:
        if config.get(setting):
            raise ModelError(f"{folder}: a LoRA with {setting}, which cannot be exported")
    start = config.get("init_lora_weights")
    if start not in _INITIAL_WEIGHTS_KEEP_BASE:
        raise ModelError(
            f"{folder}: a LoRA initialised with {start}, which changes the base model, cannot be exported"
        )
    return config


def _by_pattern(patterns: dict[str, float], module: str, default: float) -> float:
    """Return the value of the first pattern that matches the end of the module's name, as in peft."""
    found = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", module))
    return float(next(found, default))
