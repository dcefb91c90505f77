"""Reads a model's folder: configuration, tokenizer, and weights in safetensors, one tensor at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.installed import installed_file
from ..backends.transformers.gguf_base import is_gguf, load_config
from ..backends.transformers.messages import explained, quiet
from ..backends.transformers.model import check_architecture, check_folder
from ..errors import MissingExtraError, ModelError
from ..files import file_hash, hash_of_folder

try:
    import torch
    import transformers
    from safetensors import SafetensorError, safe_open
except ImportError as error:
    raise MissingExtraError(error.name or "transformers", "train,llamacpp") from None

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_WANTED_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]


class SafetensorsReader:
    """Reads tensors by name from one or several files, opening a file only while reading it.

    Raises ModelError, naming the file, if one is missing, truncated or damaged.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    @classmethod
    def of_file(cls, path: Path) -> SafetensorsReader:
        with _opened(path) as content:
            return cls(dict.fromkeys(content.keys(), path))

    @classmethod
    def of_folder(cls, folder: Path) -> SafetensorsReader:
        """Find the model's weights, in one file or in shards, as transformers does."""
        index = folder / _INDEX
        if not index.exists():
            if not (folder / _SINGLE).exists():
                raise ModelError(f"{folder}: has neither {_SINGLE} nor {_INDEX}")
            return cls.of_file(folder / _SINGLE)
        try:
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{index}: invalid index of shards: {error}") from None
        missing = sorted(name for name in set(shards.values()) if not (folder / name).exists())
        if missing:
            raise ModelError(f"{folder}: {missing[0]} is missing, but {_INDEX} lists it")
        return cls({name: folder / shard for name, shard in shards.items()})

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def names(self) -> list[str]:
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        with _opened(self._files[name]) as content:
            return tuple(content.get_slice(name).get_shape())

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a tensor as float32."""
        with _opened(self._files[name]) as content:
            try:
                tensor = content.get_tensor(name)
            except SafetensorError as error:
                raise ModelError(f"{self._files[name]}: {name} cannot be read: {error}") from None
        if not tensor.dtype.is_floating_point or tensor.dtype.itemsize < 2:
            raise ModelError(f"{self._files[name]}: {name} is {tensor.dtype}, not a float of 16 bits or more")
        array: NDArray[np.float32] = tensor.to(torch.float32).numpy()
        return array


@dataclass(frozen=True)
class Checkpoint:
    """A base model on disk. name: as the user wrote it. folder: where its files are."""

    name: str
    folder: Path
    config: Any

    @classmethod
    def open(cls, name: str) -> Checkpoint:
        """Open a folder, or a hub id, whose files are downloaded. Raises ModelError.

        Of a GGUF file only the shapes can be asked for, which is enough for an adapter.
        """
        name = str(installed_file(name) or name)
        if is_gguf(name):
            return cls(name, Path(name).parent, load_config(name))
        check_folder(name)
        folder = fetched(name)
        check_folder(str(folder))
        with quiet(), explained(name):
            config = transformers.AutoConfig.from_pretrained(folder)
        check_architecture(name, config)
        return cls(name, folder, config)

    def identity(self) -> dict[str, str]:
        """Identify these weights: by the `sha256` of a folder or file, or by the hub's `commit`."""
        if Path(self.name).is_file():
            return {"name": self.name, "sha256": file_hash(self.name)}
        if Path(self.name).is_dir():
            return {"name": self.name, "sha256": hash_of_folder(self.folder)}
        return {"name": self.name, "commit": self.folder.name}  # the hub's cache names the folder after it

    @cached_property
    def weights(self) -> SafetensorsReader:
        return SafetensorsReader.of_folder(self.folder)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors of the model, in its own order, from its code: no weights are read.

        Tied weights appear under both of their names.
        """
        auto: Any = transformers.AutoModelForCausalLM
        with quiet(), explained(self.name), torch.device("meta"):
            model = auto.from_config(self.config)
        return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def load_tokenizer(self, folder: Path | None = None) -> Any:
        """Load the tokenizer of the model's folder, or of another one."""
        auto: Any = transformers.AutoTokenizer
        with quiet(), explained(self.name):
            return auto.from_pretrained(folder or self.folder)

    def stop_ids(self) -> list[int]:
        """List the tokens that end an answer, from the generation configuration and the configuration."""
        found: list[int] = []
        path = self.folder / "generation_config.json"
        with explained(self.name):
            generation = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for ids in (generation.get("eos_token_id"), getattr(self.config, "eos_token_id", None)):
            found += ids if isinstance(ids, list) else [] if ids is None else [ids]
        return list(dict.fromkeys(found))


def fetched(name: str) -> Path:
    """Return the folder of that name, or a local copy from the hub, downloaded if needed."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    with quiet(), explained(name):
        try:
            return Path(snapshot_download(name, allow_patterns=_WANTED_FILES))
        except HFValidationError:
            raise ModelError(f"{name}: no such folder, and not a hub id") from None


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file: {error}") from None
