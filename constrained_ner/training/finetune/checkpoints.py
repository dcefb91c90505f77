"""Checkpoints of a fine-tuning: which ones are complete, and whether anything is left to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers

SCORE = "eval_micro_f1"
"""The figure by which the best epoch is chosen."""

_STATE_FILE = "trainer_state.json"  # the last file of a checkpoint to be written


def last_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint that was written completely; None if there is none."""
    complete = [path for path in folder.glob("checkpoint-*") if read_state(path) is not None]
    return max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)


def is_finished(checkpoint: Path, patience: int | None) -> bool:
    """Whether nothing is left to train after this checkpoint, for lack of steps or of patience."""
    state = read_state(checkpoint)
    if state is None:
        return False
    n_waited = n_epochs_without_gain(state.log_history)
    return state.global_step >= state.max_steps or (patience is not None and n_waited >= patience)


def read_state(checkpoint: Path) -> Any:
    """Read the Trainer's state from a checkpoint; None if the checkpoint is incomplete."""
    try:
        return transformers.TrainerState.load_from_json(str(checkpoint / _STATE_FILE))
    except (OSError, ValueError, TypeError):
        return None


def n_epochs_without_gain(history: Sequence[Mapping[str, Any]]) -> int:
    """Count the evaluations since the best one, which is the first with the highest score."""
    scores = [entry[SCORE] for entry in history if SCORE in entry]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
