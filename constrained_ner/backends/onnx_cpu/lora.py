"""A GGUF LoRA, added to the weights of its base model in float32 as they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ..gguf_file import GgufFile


class Lora:
    """An open LoRA. Raises ModelError, naming the path, unless it is one for this base model."""

    def __init__(self, path: str | Path, base: GgufFile) -> None:
        self.file = GgufFile(path)
        kind = self.file.metadata.get("adapter.type")
        if kind != "lora":
            raise ModelError(f"{path}: not a LoRA for {base.path}: its adapter.type is {kind!r}")
        architectures = [file.metadata.get("general.architecture") for file in (self.file, base)]
        if architectures[0] != architectures[1]:
            raise ModelError(
                f"{path}: not a LoRA for {base.path}: it is for {architectures[0]}, not {architectures[1]}"
            )
        self._alpha = float(self.file.metadata.get("adapter.lora.alpha", 0))
        self._base = base
        changed = {name.rpartition(".lora_")[0] for name in self.file.tensor_names}
        if unknown := sorted(changed - base.tensor_names):
            raise ModelError(f"{path}: not a LoRA for {base.path}, which has no tensor {unknown[0]!r}")
        self.changed = frozenset(changed)

    def added(self, name: str, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weight (outputs, inputs) with what the LoRA adds to it: alpha / rank times B A."""
        if name not in self.changed:
            return weight
        first, second = (self.file.tensor(f"{name}.lora_{factor}") for factor in "ab")
        if (second.shape[0], first.shape[1]) != weight.shape or len(first) != second.shape[1]:
            raise ModelError(
                f"{self.file.path}: not a LoRA for {self._base.path}: {name} has the shape {weight.shape}"
            )
        scale = np.float32(self._alpha / len(first) if self._alpha else 1.0)
        adapted: NDArray[np.float32] = weight + (scale * second) @ first
        return adapted
