"""A fine-tuning's settings, its record, and the folder that holds both.

OUT/settings.json    the settings it began with, which a resumed run must share
OUT/training.json    how it went; it exists only when the training is finished
OUT/checkpoints/     where a run continues; with no checkpoint and no adapter, nothing has been trained
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ...backends.transformers.model import Quantize
from ...constraint.answer_form import AnswerName
from ...errors import InputError, OutputError
from ...files import file_hash, reason, write_atomically
from ...misfits import first_misfit
from ..losses import Loss
from .checkpoints import last_checkpoint
from .selection import Select

SETTINGS_FILE, RECORD_FILE, CHECKPOINTS = "settings.json", "training.json", "checkpoints"


class FinetuneSettings(BaseModel):
    """Everything that decides the result. See `bin/finetune --help`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    train: Path
    val: Path
    types: dict[str, str] | None = None
    also: Path | None = None
    also_types: dict[str, str] | None = None
    also_examples: int | None = None
    full: bool = False
    tag_tokens: bool = False
    quantize: Quantize | None = None
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0
    targets: str = "all-linear"
    lr: float = 2e-4
    epochs: float = 3.0
    max_steps: int | None = None
    batch_tokens: int = 2000
    batch: int | None = None
    grad_accum: int = 1
    max_examples: int | None = None
    select: Select = "all"
    loss: Loss = "legal"
    patience: int | None = 2
    seed: int = 0
    limit_val: int | None = None
    answer: AnswerName = "tags"
    occurrences: bool = False
    prompt: str = "plain"
    schema_file: Path | None = None
    device: str = "auto"
    checkpointing: bool | None = None
    trust_remote_code: bool = False
    save_steps: int = 200


class TrainingRecord(BaseModel):
    """How a training went.

    n_examples, n_also: sentences learnt from, and those of other corpora besides.
    refused: reason -> number of mentions that tags cannot express. dropped: (sentence id, reason).
    epochs: figures of each evaluation. best: figures of the one whose adapter is kept.
    elapsed_s, peak_memory_bytes: only of the last run, if the training was resumed.
    """

    settings: FinetuneSettings
    n_examples: int
    n_also: int = 0
    n_val: int
    refused: dict[str, int]
    dropped: list[tuple[str, str]]
    epochs: list[dict[str, float]]
    best: dict[str, float]
    elapsed_s: float
    peak_memory_bytes: int
    versions: dict[str, str]


def is_first_process() -> bool:
    """Whether this process prepares the folder and logs. Under torchrun there are several."""
    return os.environ.get("RANK", "0") == "0"


def prepare(out: Path, settings: FinetuneSettings, resume: bool) -> TrainingRecord | None:
    """Make the folder, or check what is there. Returns the record if this training is already finished."""
    content = {
        **settings.model_dump(mode="json", exclude={"device", "save_steps"}),
        "train_sha256": file_hash(settings.train),
        "val_sha256": file_hash(settings.val),
    }
    if settings.also is not None:
        content["also_sha256"] = file_hash(settings.also)
    path = out / SETTINGS_FILE
    if not is_first_process():
        return finished(out) if resume else None  # the first process checks for all
    if not path.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out}: cannot be created: {error.strerror}") from None
        if any(out.iterdir()):
            raise OutputError(f"{out}: not empty, but holds no training; choose another --out")
    if not _holds_training(out):  # an earlier run may have failed early: the new settings count
        write_atomically(path, [_Started(content=content).model_dump_json(indent=2), "\n"])
        return None
    if not resume:
        raise OutputError(
            f"{out}: holds an earlier training; pass --resume to continue it, or choose another --out"
        )
    try:
        before = _Started.model_validate_json(path.read_bytes()).content
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except ValidationError as error:
        raise InputError(f"{path}: not the settings of a training: {first_misfit(error, 'file')}") from None
    for name, now in content.items():
        if before.get(name) != now:
            raise OutputError(
                f"{out}: {name} was {before.get(name)} when this training began, now it is {now}; "
                "--resume needs the same settings"
            )
    return finished(out)


def _holds_training(out: Path) -> bool:
    """Whether starting anew would lose anything."""
    kept = ("adapter_model.safetensors", "model.safetensors", RECORD_FILE)
    return last_checkpoint(out / CHECKPOINTS) is not None or any((out / name).exists() for name in kept)


def finished(out: Path) -> TrainingRecord | None:
    """Read the record of a finished training; None if it is not finished."""
    record = out / RECORD_FILE
    if not record.exists():
        return None
    try:
        return TrainingRecord.model_validate_json(record.read_bytes())
    except ValidationError as error:
        raise InputError(f"{record}: not the record of a training: {first_misfit(error, 'record')}") from None


class _Started(BaseModel):
    content: dict[str, Any]
