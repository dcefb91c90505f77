"""Training all weights of a small model instead of an adapter, and tags that are single tokens.

A whole model has an embedding for every token, so its tags can be tokens of their own: answers get shorter,
and opening a tag is one decision. They are added as special tokens, so text that spells `<drug>` never
becomes one. Each starts as the mean of the tokens that spelt it. The folder holds an ordinary model with its
tokenizer, and a card that says which schema and prompt it was trained for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...backends.transformers.gguf_base import is_gguf
from ...backends.transformers.messages import quiet
from ...backends.transformers.model import load_model
from ...constraint.markup import Markup
from ...errors import ModelError, UserError
from ...schema import Schema
from ..output_rows import check_output_layer
from .adapter import AdaptedModel, prepare_for_training
from .folder import FinetuneSettings

Spellings = dict[str, list[int]]
"""Tag -> the tokens that spelt it before it was one."""


def check_whole(settings: FinetuneSettings) -> None:
    """Raise UserError for settings that do not go with --full, or need it."""
    if settings.tag_tokens and not settings.full:
        raise UserError("--tag-tokens needs --full: an adapter has no embeddings for new tokens")
    if settings.full and settings.quantize:
        raise UserError(f"--full trains all weights, which --quantize {settings.quantize} would freeze")
    if settings.full and is_gguf(settings.model):
        raise ModelError(
            f"{settings.model}: --full needs a model in transformers' format; a GGUF file takes an adapter"
        )


def add_tag_tokens(config: Any, tokenizer: Any, schema: Schema) -> Spellings:
    """Make a tokenizer write each tag as one token, and a configuration have room for them.

    Where the model's vocabulary is padded, the tags take rows that were unused.
    """
    tags = [tag for name in schema.type_names for tag in _tags(schema, name)]
    spellings = {tag: list(tokenizer(tag, add_special_tokens=False)["input_ids"]) for tag in tags}
    tokenizer.add_special_tokens({"additional_special_tokens": tags}, False)  # besides those that it has
    text = config.get_text_config(decoder=True)
    text.vocab_size = max(text.vocab_size, len(tokenizer))
    return spellings


def _tags(schema: Schema, name: str) -> tuple[str, str]:
    markup = Markup(schema)
    return markup.open_tag(name), markup.close_tag(name)


def load_whole(
    settings: FinetuneSettings,
    tokenizer: Any,
    spellings: Spellings,
    *,
    device: torch.device,
    checkpointing: bool,
) -> AdaptedModel:
    """Load a model whose weights are all to be trained, in float32. Raises ModelError.

    tokenizer, spellings: as `add_tag_tokens` leaves them; no spellings if tags are text.
    """
    loaded = load_model(
        settings.model,
        adapter=None,
        quantize=None,
        device=str(device),
        dtype="float32",
        trust_remote_code=settings.trust_remote_code,
    )
    model = loaded.model
    if spellings:
        with quiet():
            _grow(model, tokenizer, spellings)
    model.requires_grad_(True)
    prepare_for_training(model, device, checkpointing)
    head = model.get_output_embeddings()
    check_output_layer(head, settings.model)
    return AdaptedModel(model, replace(loaded, tokenizer=tokenizer, config=model.config), head)


def _grow(model: Any, tokenizer: Any, spellings: Spellings) -> None:
    n_rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > n_rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    with torch.no_grad():
        for weight in {id(layer.weight): layer.weight for layer in layers}.values():  # once, if they are tied
            means = {tag: weight[ids].mean(dim=0) for tag, ids in spellings.items()}
            for tag, mean in means.items():
                weight[tokenizer.convert_tokens_to_ids(tag)] = mean


def save_whole(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save a model with its tokenizer; each file is complete at any moment, the weights come last."""
    part = folder / ".part"
    with quiet():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    for path in _weights_last(sorted(part.iterdir())):
        os.replace(path, folder / path.name)
    shutil.rmtree(part)


def _weights_last(paths: Sequence[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.suffix == ".safetensors")
