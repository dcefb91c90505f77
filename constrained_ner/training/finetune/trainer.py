"""The Trainer of transformers with our losses, constrained F1 after each epoch, and the best adapter kept.

Everything that decides how the run goes on (steps, history, random states) is in the Trainer's own
checkpoints, so a run that is killed goes on from the last whole one as if nothing had happened.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers.trainer_callback import PrinterCallback

from ...errors import ModelError, OutputError
from ..batches import Example, make_batch
from ..output_rows import Question, cross_entropies

Loss = Literal["legal", "completion"]
Measure = Callable[[], Mapping[str, float]]
SCORE = "eval_micro_f1"
_STATE_FILE = "trainer_state.json"  # the last file of a checkpoint to be written
_NOT_COUNTED = -100


def collate(examples: Sequence[Example], loss: Loss, pad: int) -> dict[str, Tensor]:
    """A batch for `Tuner`: ids, and the choices that the loss is computed at.

    legal: every decision over its legal tokens, and the end token over the vocabulary, so that the model
        stops by itself, too. Forced positions are no choices.
    completion: every token of the answer over the vocabulary.
    """
    batch = make_batch(examples, pad)
    n_columns = batch.ids.shape[1]
    ends = np.array([row * n_columns + len(e.ids) - 2 for row, e in enumerate(examples)], dtype=np.int64)
    few_at, few, whole_at = batch.decisions, batch.legal, ends
    if loss == "completion":
        few_at, few, whole_at = few_at[:0], few[:0], batch.answer
    labels = np.full_like(batch.ids, _NOT_COUNTED)
    chosen = np.concatenate([few_at, whole_at])
    labels.reshape(-1)[chosen + 1] = batch.next_ids[chosen]
    arrays = {
        "input_ids": batch.ids,
        "labels": labels,  # read by the Trainer alone: how many choices there are
        "few_at": few_at,
        "few": few,
        "whole_at": whole_at,
        "whole": batch.next_ids[whole_at],
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Tuner(transformers.Trainer):
    """Trains an adapter.

    head: the output layer of the model. measure: figures of the model as it is, under names of their own.
    """

    def __init__(self, *, head: Any, measure: Measure, **trainer_options: Any) -> None:
        super().__init__(**trainer_options)
        self.head = head
        self.measure = measure
        self.model_accepts_loss_kwargs = True  # we divide by the choices of the whole step ourselves
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean cross-entropy of the choices of the whole step, however it is cut into batches."""
        question = Question(*(inputs[name] for name in ("few_at", "few", "whole_at", "whole")))
        losses = cross_entropies(model, self.head, inputs["input_ids"], question)
        loss = losses.sum() / (question.n_choices if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over the processes
        return (loss, {}) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss is {loss.item()}")
        return loss

    def check_gradients(self) -> None:
        """ModelError where a gradient is no number: the step would spoil the weights for good.

        In half precision the gradients of a loss that is scaled too far overflow: the scaler leaves out that
        step and scales less from then on.
        """
        if self.accelerator.scaler is not None:
            return
        model: Any = self.model
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if gradients and not torch.stack([g.isfinite().all() for g in gradients]).all():
            raise self._diverged("the gradient is not finite")

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        output: Any = super().evaluation_loop(*args, **kwargs)
        output.metrics.update({f"eval_{name}": figure for name, figure in self.measure().items()})
        return output

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # A folder of this name can be there if the run was killed or its epoch ended here: it must never
        # look whole while it is written anew.
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise OutputError(
                f"{folder}: cannot be written: {str(error).splitlines()[0]}; {self._last_checkpoint()}"
            ) from None

    def _diverged(self, what: str) -> ModelError:
        step, epoch = self.state.global_step + 1, self.state.epoch or 0.0
        return ModelError(
            f"{what} at step {step} (epoch {epoch:.2f}): lower --lr, which is {self.args.learning_rate:g}; "
            f"{self._last_checkpoint()}"
        )

    def _last_checkpoint(self) -> str:
        last = last_checkpoint(Path(str(self.args.output_dir)))
        return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; None if there is none."""
    whole = [path for path in folder.glob("checkpoint-*") if _state(path) is not None]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def is_finished(checkpoint: Path, patience: int | None) -> bool:
    """Whether nothing is left to train after this checkpoint: no steps, or no patience."""
    state = _state(checkpoint)
    if state is None:
        return False
    n_waited = n_epochs_without_gain(state.log_history)
    return state.global_step >= state.max_steps or (patience is not None and n_waited >= patience)


def _state(checkpoint: Path) -> Any:
    try:
        return transformers.TrainerState.load_from_json(str(checkpoint / _STATE_FILE))
    except (OSError, ValueError, TypeError):
        return None


def n_epochs_without_gain(history: Sequence[Mapping[str, Any]]) -> int:
    """Evaluations since the best one; 0 if the last is the best so far, and better than all before."""
    scores = [entry[SCORE] for entry in history if SCORE in entry]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


class KeepBest(transformers.TrainerCallback):
    """Writes the adapter whenever an epoch is the best so far, and ends a training that gains no more."""

    def __init__(self, write: Callable[[], None], patience: int | None) -> None:
        self.write = write
        self.patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        n_waited = n_epochs_without_gain(state.log_history)
        if n_waited == 0 and state.is_world_process_zero:
            self.write()
        if self.patience is not None and n_waited >= self.patience:
            control.should_training_stop = True


class EverySteps(transformers.TrainerCallback):
    """A checkpoint every so many steps, beside those at the end of each epoch."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Not where an epoch ends: a run that went on from there would miss the epoch's evaluation.
        at_end = state.epoch == int(state.epoch) or state.global_step >= state.max_steps
        if state.global_step % self.n_steps == 0 and not at_end:
            control.should_save = True


class CheckGradients(transformers.TrainerCallback):
    """Before every step of the optimiser."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.check()


class Report(transformers.TrainerCallback):
    """A line with the time left now and then, and one for each epoch."""

    def __init__(self, say: Callable[[str], None], every_s: float = 10.0) -> None:
        self.say = say
        self.every_s = every_s
        self._loss = math.nan

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first_step = state.global_step
        self._began_s = self._said_s = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        self._loss = about["logs"].get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if now - self._said_s < self.every_s or math.isnan(self._loss):
            return
        self._said_s = now
        per_step_s = (now - self._began_s) / (state.global_step - self._first_step)
        left_s = round(per_step_s * (state.max_steps - state.global_step))
        self.say(
            f"epoch {state.epoch:.2f}, step {state.global_step} of {state.max_steps}, "
            f"loss {self._loss:.4f}, {per_step_s:.2f} s a step, "
            f"{left_s // 3600}:{left_s // 60 % 60:02}:{left_s % 60:02} left"
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        metrics = about["metrics"]
        best = "" if n_epochs_without_gain(state.log_history) else ", the best so far"
        self.say(
            f"epoch {state.epoch:.2f}: training loss {self._loss:.4f}, validation loss "
            f"{metrics['eval_loss']:.4f}, constrained F1 micro {metrics[SCORE]:.1%}, "
            f"macro {metrics['eval_macro_f1']:.1%}{best}"
        )
