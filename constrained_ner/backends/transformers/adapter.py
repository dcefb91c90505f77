"""LoRA adapters in peft's format: checking a folder, and adding it to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import require_content
from .messages import explained, quiet


def check_adapter(adapter: str) -> None:
    """Raise ModelError for a local path that is not an adapter in safetensors."""
    folder = Path(adapter)
    if not folder.exists():
        if adapter.count("/") == 1 and not adapter.startswith((".", "~")):
            return  # a hub id
        raise ModelError(f"{adapter}: no such adapter folder")
    require_content(folder, ModelError)
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: not an adapter folder (no adapter_config.json)")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{adapter}: no weights (adapter_model.safetensors) in the adapter folder")


def add_adapter(model: Any, adapter: str, n_tokens: int, *, merge: bool) -> Any:
    """The model with the adapter.

    merge: add the adapter's product to the weights. A merged model is as fast as its base, and its answers
        differ only by rounding; but in 4 or 8 bits the sum would be rounded to one of 16 or 256 values.
    """
    from peft import PeftModel

    if n_tokens > model.get_input_embeddings().num_embeddings:  # an adapter that came with tokens of its own
        model.resize_token_embeddings(n_tokens)
    with quiet(), explained(adapter):
        adapted = PeftModel.from_pretrained(model, adapter, use_safetensors=True)
    return adapted.merge_and_unload() if merge else adapted.get_base_model()


def tokenizer_folder(name: str, adapter: str | None) -> str:
    """The folder with the tokenizer: the adapter's, if it came with one of its own, else the model's."""
    if adapter is not None and (Path(adapter) / "tokenizer.json").is_file():
        return adapter
    return name
