"""Adapters in peft's format: checking a folder, adding it to a model, and that all of it arrived there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import require_content
from .messages import explained, first_line, quiet

WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_WHOLE_ENDS = re.compile(
    r"\.(embed_tokens|lm_head|wte|embed_in|embed_out)\.((base_layer|modules_to_save|original_module)\.)?weight$"
)
"""A whole input or output layer, which peft may save beside the adapter, as it is."""


def check_adapter(adapter: str) -> None:
    """Raise ModelError for a local path that is not an adapter in safetensors, or not of a usable kind.

    A hub id is not looked at.
    """
    folder = Path(adapter)
    if not folder.exists():
        if adapter.count("/") == 1 and not adapter.startswith((".", "~")):
            return  # a hub id
        raise ModelError(f"{adapter}: no such adapter folder")
    require_content(folder, ModelError)
    if not (folder / _CONFIG).is_file():
        inner = sorted(folder.glob(f"*/{_CONFIG}"), key=lambda path: path.stat().st_mtime)
        hint = f"; the newest in it is {inner[-1].parent}" if inner else ""
        raise ModelError(f"{adapter}: not an adapter folder (no {_CONFIG}){hint}")
    if not (folder / WEIGHTS).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise ModelError(
                f"{adapter}: the weights are a pickle (adapter_model.bin), which can run code when it is "
                "read; save them as safetensors"
            )
        raise ModelError(f"{adapter}: no weights ({WEIGHTS}) in the adapter folder")
    _check_kind(adapter, folder / _CONFIG)


def _check_kind(adapter: str, path: Path) -> None:
    """Refuse what is not in the weights of the model's layers, such as a learnt prompt."""
    try:
        config = json.loads(path.read_bytes())
        kind = str(config["peft_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{adapter}: {path.name} is damaged, or not peft's") from None
    if config.get("num_virtual_tokens") or kind in ("ADAPTION_PROMPT", "CPT", "CARTRIDGE"):
        raise ModelError(f"{adapter}: a learnt prompt ({kind}) cannot be used; train a LoRA instead")


def add_adapter(model: Any, adapter: str, n_tokens: int, *, merge: bool | None) -> Any:
    """The model with the adapter. Raises ModelError unless all of the adapter's weights fit the model.

    n_tokens: of the tokenizer. merge: add the adapter's product to the weights; None does so if the answers
        stay the same. A merged model is as fast as its base, and its answers differ only by rounding; but in
        4 or 8 bits the sum would be rounded to one of 16 or 256 values.
    """
    with quiet():
        from peft import PeftModel

    n_rows = max(n_tokens, _rows_of(adapter))
    if n_rows > model.get_input_embeddings().num_embeddings:  # an adapter that came with tokens of its own
        with quiet():
            model.resize_token_embeddings(n_rows)
    with quiet(), explained(adapter):
        adapted = PeftModel.from_pretrained(model, adapter, use_safetensors=True)
    _require_all_weights(adapted, adapter)
    obstacle = next(_obstacles_to_merging(adapted), None)
    if merge is None:
        merge = obstacle is None
    if not merge:
        return adapted.get_base_model()
    if obstacle is not None:
        raise ModelError(f"{adapter}: cannot be merged: {obstacle}; use --no-merge")
    try:
        with quiet():
            return adapted.merge_and_unload()
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelError(f"{adapter}: cannot be merged ({first_line(error)}); use --no-merge") from None


def _rows_of(adapter: str) -> int:
    """Rows of the embedding that the adapter brings; 0 if it brings none."""
    weights = Path(adapter) / WEIGHTS
    if not weights.is_file():
        return 0
    from safetensors import safe_open

    with explained(adapter), safe_open(weights, "pt") as file:
        whole = filter(_WHOLE_ENDS.search, file.keys())
        shapes = [file.get_slice(key).get_shape() for key in whole]
    return max((shape[0] for shape in shapes), default=0)


def _require_all_weights(adapted: Any, adapter: str) -> None:
    """Raise ModelError if a weight of a local adapter has no place in the model, or a place no weight.

    peft only warns then, and the model answers as its base.
    """
    weights = Path(adapter) / WEIGHTS
    if not weights.is_file():
        return
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        stored = set(file.keys())
    with quiet():
        wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    spare = sorted(key for key in stored - wanted if not _WHOLE_ENDS.search(key))
    missing = sorted(wanted - stored)
    if spare:
        raise ModelError(
            f"{adapter}: {len(spare)} of {len(stored)} weights do not fit the model, for instance "
            f"{spare[0]}; they belong to another model, or their names are another library's"
        )
    if missing:
        raise ModelError(f"{adapter}: {len(missing)} weights are missing, for instance {missing[0]}")


def _obstacles_to_merging(adapted: Any) -> Iterator[str]:
    """Why the merged model would not answer like the adapted one."""
    base = adapted.get_base_model()
    tied = base.get_input_embeddings().weight is base.get_output_embeddings().weight
    for name, layer in adapted.named_modules():
        if not hasattr(layer, "get_base_layer") or not getattr(layer, "adapter_layer_names", None):
            continue
        own = getattr(layer.get_base_layer(), "weight", None)
        adapts = any(getattr(layer, part, None) for part in ("lora_A", "lora_embedding_A"))
        if tied and adapts and own is base.get_input_embeddings().weight:
            yield f"it changes {name.split('.')[-1]}, which input and output share"
        has_bias = getattr(layer.get_base_layer(), "bias", None) is not None
        if any(getattr(layer, "lora_bias", {}).values()) and not has_bias:
            yield "it has biases where the model has none"


def tokenizer_folder(name: str, adapter: str | None) -> str:
    """The folder with the tokenizer: the adapter's, if it came with one of its own, else the model's."""
    if adapter is not None and (Path(adapter) / "tokenizer.json").is_file():
        return adapter
    return name
