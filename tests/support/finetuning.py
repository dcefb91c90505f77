"""What the tests of fine-tuning share: a tiny model, a prompt, settings that learn fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from constrained_ner.backends.transformers.backend import vocabulary_of_model
from constrained_ner.backends.transformers.model import load_tokenizer
from constrained_ner.backends.transformers.vocabulary import template_of
from constrained_ner.data import Mention, Span
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI
from constrained_ner.training.finetune.folder import FinetuneSettings
from constrained_ner.training.targets import TargetWriter

PROMPT = {"sysprompt": ["Mark the names: {tags}"], "usrprompt": ["{sentence}"]}
SMALL: dict[str, Any] = {"num_hidden_layers": 2, "hidden_size": 64, "head_dim": 16, "intermediate_size": 128}


def settings(folder: Path, **changes: Any) -> FinetuneSettings:
    defaults = {
        "model": str(folder / "model"),
        "train": folder / "train.xml",
        "val": folder / "val.xml",
        "prompt": str(folder / "prompt.json"),
        "device": "cpu",
        "rank": 64,
        "alpha": 128,
        "dropout": 0.0,
        "lr": 3e-3,
        "batch": 8,
        "grad_accum": 1,
        "epochs": 5,
        "patience": None,
    }
    return FinetuneSettings(**defaults | changes)


def target_writer(folder: Path) -> TargetWriter:
    config, tokenizer = load_tokenizer(str(folder / "model"))
    return TargetWriter(
        vocabulary_of_model(str(folder / "model"), tokenizer, config),
        template_of(tokenizer),
        schema=DDI,
        prompt=PromptFile.model_validate(PROMPT),
        n_context=2048,
    )


def mention(text: str, name: str, entity_type: str) -> Mention:
    start = text.index(name)
    return Mention((Span(start, start + len(name)),), entity_type, name)
