"""The Trainer of transformers with our losses. It measures constrained F1 after each epoch.

Everything that decides how a run continues (steps, history, random states) is in the Trainer's own
checkpoints, so a killed run continues from the last complete one as if nothing had happened.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers.trainer_callback import PrinterCallback

from ...errors import ModelError, OutputError
from ..batches import Example, make_batch
from ..losses import LOSSES, Loss, Question
from ..output_rows import cross_entropies
from .checkpoints import last_checkpoint

Measure = Callable[[], Mapping[str, float]]
_NOT_COUNTED = -100


def collate(groups: Sequence[Sequence[Example]], loss: Loss, pad: int) -> dict[str, Tensor]:
    """Make a batch for `Tuner` of groups of examples: ids, and the choices that the loss asks for.

    There is no padding mask: under a causal mask no token sees the padding on its right.
    """
    batch = make_batch([example for group in groups for example in group], pad)
    question = LOSSES[loss](batch)
    # The Trainer counts labels to know how many choices a step has, and uses them for nothing else.
    labels = np.full_like(batch.ids, _NOT_COUNTED)
    chosen = np.concatenate([question.few_at.numpy(), question.whole_at.numpy()])
    labels.reshape(-1)[chosen + 1] = batch.next_ids[chosen]
    ids = {"input_ids": torch.from_numpy(batch.ids), "labels": torch.from_numpy(labels)}
    return {**ids, **vars(question)}


class Tuner(transformers.Trainer):
    """Trains an adapter.

    head: the model's output layer. measure: returns more figures of the current model, by name, for every
        evaluation.
    """

    def __init__(self, *, head: Any, measure: Measure, **trainer_options: Any) -> None:
        super().__init__(**trainer_options)
        self.head = head
        self.measure = measure
        self.model_accepts_loss_kwargs = True  # `compute_loss` divides by the choices of the whole step
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Compute the mean cross-entropy over the choices of a whole step, however it is split."""
        question = Question.among(inputs)
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
        """Raise ModelError if a gradient is not finite, before the step ruins the weights.

        In float16, gradients overflow when the loss is scaled too far. The scaler then skips the step and
        scales less, so that is no reason to stop.
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
        # The folder may exist, from a killed run or from the end of an epoch at this step. It must not look
        # complete while it is being rewritten.
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
            f"{what} at step {step} (epoch {epoch:.2f}); {self._last_checkpoint()}; "
            f"pass a lower --lr than {self.args.learning_rate:g}"
        )

    def _last_checkpoint(self) -> str:
        last = last_checkpoint(Path(str(self.args.output_dir)))
        return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
