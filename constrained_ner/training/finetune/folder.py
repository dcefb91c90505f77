"""A fine-tuning's settings, its record, and the folder that keeps both.

OUT/settings.json    what it was begun with, so that nobody goes on with anything else
OUT/training.json    how it went; its presence says that the training is finished
OUT/checkpoints/     where it is to go on; without one, and without an adapter, nothing was begun
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ...backends.transformers.model import Quantize
from ...errors import InputError, OutputError
from ...files import file_hash, first_misfit, write_atomically
from .selection import Select
from .trainer import Loss, last_checkpoint

SETTINGS_FILE, RECORD_FILE, CHECKPOINTS = "settings.json", "training.json", "checkpoints"


class Settings(BaseModel):
    """Everything that decides what comes out. See `bin/finetune --help`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    train: Path
    val: Path
    quantize: Quantize | None = None
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    targets: str = "all-linear"
    lr: float = 2e-4
    epochs: float = 3.0
    max_steps: int | None = None
    batch: int = 4
    grad_accum: int = 4
    max_examples: int | None = None
    select: Select = "all"
    loss: Loss = "legal"
    patience: int | None = 2
    seed: int = 0
    limit_val: int | None = None
    prompt: str = "plain"
    schema_file: Path | None = None
    device: str = "auto"
    checkpointing: bool | None = None
    trust_remote_code: bool = False
    save_steps: int = 200


class TrainingRecord(BaseModel):
    """How a training went.

    refused: reason -> mentions that tags cannot express. dropped: (sentence id, reason).
    epochs: figures of each evaluation. best: of the one whose adapter is kept.
    elapsed_s, peak_memory_bytes: of the last run alone, where it was resumed.
    """

    settings: Settings
    n_examples: int
    n_val: int
    refused: dict[str, int]
    dropped: list[tuple[str, str]]
    epochs: list[dict[str, float]]
    best: dict[str, float]
    elapsed_s: float
    peak_memory_bytes: int
    versions: dict[str, str]


def is_first_process() -> bool:
    """Whether this process prepares the folder and speaks; under torchrun there are several."""
    return os.environ.get("RANK", "0") == "0"


def prepare(out: Path, settings: Settings, resume: bool) -> TrainingRecord | None:
    """Make the folder, or check what is there. The record, if this training is finished already."""
    content = {
        **settings.model_dump(mode="json", exclude={"device", "save_steps"}),
        "train_sha256": file_hash(settings.train),
        "val_sha256": file_hash(settings.val),
    }
    path = out / SETTINGS_FILE
    if not is_first_process():
        return finished(out) if resume else None  # the first one checks for all
    if not path.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out}: cannot be made: {error.strerror}") from None
        if any(out.iterdir()):
            raise OutputError(f"{out}: is not empty, and holds no training to go on with")
    if not _holds_training(out):  # it may have failed at a misspelt model: what is asked now counts
        write_atomically(path, [_Started(content=content).model_dump_json(indent=2), "\n"])
        return None
    if not resume:
        raise OutputError(
            f"{out}: a training was begun here; --resume goes on with it, or name another --out"
        )
    try:
        before = _Started.model_validate_json(path.read_bytes()).content
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    for name, now in content.items():
        if before.get(name) != now:
            raise OutputError(
                f"{out}: {name} was {before.get(name)} when this training began, and is {now}: --resume "
                "goes on as it was begun"
            )
    return finished(out)


def _holds_training(out: Path) -> bool:
    """Whether anything would be lost if the training began anew."""
    kept = ("adapter_model.safetensors", RECORD_FILE)
    return last_checkpoint(out / CHECKPOINTS) is not None or any((out / name).exists() for name in kept)


def finished(out: Path) -> TrainingRecord | None:
    """The record of a training that was brought to its end, None before that."""
    record = out / RECORD_FILE
    if not record.exists():
        return None
    try:
        return TrainingRecord.model_validate_json(record.read_bytes())
    except ValidationError as error:
        raise InputError(f"{record}: not the record of a training: {first_misfit(error, 'record')}") from None


class _Started(BaseModel):
    content: dict[str, Any]
