"""Checkpoints of a fine-tuning: which ones are complete, and whether anything is left to train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers

SCORE = "eval_micro_f1"
"""The figure by which the best epoch is chosen; the validation loss decides between equals."""

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


def best_epoch(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The best evaluation: the highest score, of equal ones the smallest loss, of these the first."""
    return max(_evaluations(history), key=_worth)


def is_best_so_far(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last evaluation is the best one."""
    evaluations = _evaluations(history)
    return bool(evaluations) and best_epoch(evaluations) is evaluations[-1]


def n_epochs_without_gain(history: Sequence[Mapping[str, Any]]) -> int:
    """Count the evaluations since the last gain: a better epoch than all before, or a smaller loss.

    While the loss falls, the score may stay the same and rise later.
    """
    evaluations = _evaluations(history)
    gains = [0]
    for at in range(1, len(evaluations)):
        earlier, now = evaluations[:at], evaluations[at]
        loss = _loss(now)
        if _worth(now) > max(map(_worth, earlier)) or loss < min(map(_loss, earlier)):
            gains.append(at)
    return len(evaluations) - 1 - gains[-1] if evaluations else 0


def _evaluations(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [entry for entry in history if SCORE in entry]


def _loss(evaluation: Mapping[str, Any]) -> float:
    return float(evaluation.get("eval_loss", math.inf))


def _worth(evaluation: Mapping[str, Any]) -> tuple[float, float]:
    return evaluation[SCORE], -_loss(evaluation)
