"""What happens during a fine-tuning besides training: best adapter, checkpoints, checks, status lines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import transformers

from .checkpoints import SCORE, best_epoch, is_best_so_far, n_epochs_without_gain


class KeepBest(transformers.TrainerCallback):
    """Writes the adapter after every epoch that is the best so far. Stops when patience runs out."""

    def __init__(self, write: Callable[[], None], patience: int | None, log: Callable[[str], None]) -> None:
        self.write = write
        self.patience = patience
        self.log = log

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        history = state.log_history
        if is_best_so_far(history) and state.is_world_process_zero:
            self.write()
        n_waited = n_epochs_without_gain(history)
        if self.patience is not None and n_waited >= self.patience:
            control.should_training_stop = True
            if state.global_step < state.max_steps:
                self.log(
                    f"stopping early: {n_waited} epochs without a gain in F1 or loss (--patience "
                    f"{self.patience}); epoch {best_epoch(history)['epoch']:.0f} is kept"
                )


class SaveEverySteps(transformers.TrainerCallback):
    """Saves a checkpoint every so many steps, besides those at the end of each epoch."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Not at the end of an epoch: a run that continued from there would miss the epoch's evaluation.
        at_end = state.epoch == int(state.epoch) or state.global_step >= state.max_steps
        if state.global_step % self.n_steps == 0 and not at_end:
            control.should_save = True


class CheckGradients(transformers.TrainerCallback):
    """Calls a check before every step of the optimiser."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.check()


class StatusLines(transformers.TrainerCallback):
    """Logs a line with the time left every few seconds, and a line per epoch."""

    def __init__(self, log: Callable[[str], None], every_s: float = 10.0) -> None:
        self.log = log
        self.every_s = every_s
        self._loss = math.nan

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first_step, self._first_token = state.global_step, state.num_input_tokens_seen
        self._began_s = self._logged_s = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        self._loss = about["logs"].get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if now - self._logged_s < self.every_s or math.isnan(self._loss):
            return
        self._logged_s = now
        elapsed_s = now - self._began_s
        per_step_s = elapsed_s / (state.global_step - self._first_step)
        n_tokens = int(state.num_input_tokens_seen) - int(self._first_token)
        left_s = round(per_step_s * (state.max_steps - state.global_step))
        self.log(
            f"epoch {state.epoch:.2f}, step {state.global_step} of {state.max_steps}, "
            f"loss {self._loss:.4f}, {per_step_s:.2f} s per step, {n_tokens / elapsed_s:.0f} tokens/s, "
            f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02} left"
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        metrics = about["metrics"]
        best = ", the best so far" if is_best_so_far(state.log_history) else ""
        self.log(
            f"epoch {state.epoch:.2f}: training loss {self._loss:.4f}, validation loss "
            f"{metrics['eval_loss']:.4f}, constrained F1 micro {metrics[SCORE]:.1%}, "
            f"macro {metrics['eval_macro_f1']:.1%}{best}"
        )
