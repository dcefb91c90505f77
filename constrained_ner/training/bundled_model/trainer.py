"""The training loop: stages in order, checkpoints between chunks, a log line per chunk.

A chunk is a few batches made from its own seed, so a killed run continues from its last checkpoint exactly as
it would have gone on (on CPU and with budgets in tokens; budgets in minutes depend on the clock).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ModelError, OutputError
from ..batches import Batch
from ..losses import Weights, batch_losses
from .dropout import dropout
from .feed import Chunk, chunks, make_chunk
from .muon import Muon
from .sources import Source


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    minutes, n_tokens: the budget; give either. Padding and prompt count as tokens.
    rate: Muon's learning rate at the start; it falls linearly to `last` times that. AdamW (embeddings and
        norms) gets two thirds of it.
    """

    name: str
    source: Source
    minutes: float | None = None
    n_tokens: int | None = None
    rate: float = 3e-3
    last: float = 1.0
    dropout: float = 0.0
    batch_tokens: int = 3000
    weights: Weights = field(default_factory=Weights)


@dataclass
class TrainingState:
    """How far a run has come. Saved with every checkpoint."""

    stage: int = 0
    chunk: int = 0
    n_tokens: int = 0
    seconds: float = 0.0

    def share(self, stage: Stage) -> float:
        """Return the share of the stage's budget that is spent."""
        by_time = self.seconds / 60 / stage.minutes if stage.minutes else 0.0
        by_tokens = self.n_tokens / stage.n_tokens if stage.n_tokens else 0.0
        return max(by_time, by_tokens, 0.0 if stage.minutes or stage.n_tokens else 1.0)


@dataclass(frozen=True)
class StageSummary:
    """Figures of a finished stage. Losses are in nats, means over its last chunks."""

    name: str
    n_tokens: int
    seconds: float
    rate: float
    decision: float
    copy: float


class Trainer:
    """Trains one model through its stages.

    compiled: speed up forward and backward passes with torch.compile, which takes a minute per stage.
    warm_up_steps: steps in which the rates rise to what the stage says; weights that copy need more of them.
    n_feeders: processes that make the batches ahead (see `feed`); 0 makes them here. It changes no weight.
    finished: a summary of each stage that is done.
    """

    SUMMARY_CHUNKS = 5
    CHUNK_BATCHES = 8

    def __init__(
        self,
        model: Any,
        pad: int,
        *,
        seed: int,
        checkpoint: Path,
        checkpoint_every_s: float = 180.0,
        compiled: bool = False,
        warm_up_steps: int = 20,
        n_feeders: int = 0,
        log: Callable[[str], None] = print,
    ) -> None:
        self.model = model
        self.pad = pad
        self.seed = seed
        self.checkpoint = checkpoint
        self.checkpoint_every_s = checkpoint_every_s
        self.compiled = compiled
        self.warm_up_steps = warm_up_steps
        self.n_feeders = n_feeders
        self.log = log
        self.state = TrainingState()
        self.optimisers = _optimisers(model)
        self.n_steps = 0
        self.finished: list[StageSummary] = []
        self._latest: list[tuple[float, float]] = []  # decision and copy losses of the last chunks
        self._saved_at = time.monotonic()

    def run(self, stages: Sequence[Stage], after_stage: Callable[[Stage], None] = lambda stage: None) -> None:
        """Run the stages that are left."""
        torch.manual_seed(self.seed)
        if self.checkpoint.exists():
            self.resume(stages)
        self.model.train()
        while self.state.stage < len(stages):
            stage = stages[self.state.stage]
            with dropout(self.model, stage.dropout):
                if self.compiled:
                    torch.compiler.reset()  # code compiled earlier does not have this stage's dropout
                    self.model.model.compile(dynamic=True)
                with closing(self._chunks(stage)) as feed:
                    while self.state.share(stage) < 1:
                        self._chunk(stage, feed)
                        if time.monotonic() - self._saved_at > self.checkpoint_every_s:
                            self.save(stages)
            self._finish(stage)
            after_stage(stage)
            self.state = TrainingState(stage=self.state.stage + 1)
            self.save(stages)

    def _finish(self, stage: Stage) -> None:
        """Record the stage's summary, unless it had no budget."""
        if self._latest:
            decision, copy = np.mean(self._latest[-self.SUMMARY_CHUNKS :], axis=0).tolist()
            done = self.state
            self.finished.append(
                StageSummary(stage.name, done.n_tokens, done.seconds, stage.rate, decision, copy)
            )
            self._latest = []

    def _chunks(self, stage: Stage) -> Generator[Chunk, None, None]:
        """The chunks that are left. A source with a state depends on what was learnt, so it is drawn here."""

        def make(number: int) -> Chunk:
            seed = [self.seed, self.state.stage, number]
            return make_chunk(stage.source, seed, self.CHUNK_BATCHES, stage.batch_tokens, self.pad)

        return chunks(make, self.state.chunk, 0 if stage.source.state else self.n_feeders)

    def _chunk(self, stage: Stage, feed: Iterator[Chunk]) -> None:
        """Train on one chunk of fresh examples and log its mean losses.

        The losses are read at the end: on a GPU, reading one waits for all that was asked before.
        """
        began = time.monotonic()
        chunk = next(feed)
        losses = torch.stack([self._step(stage, batch, chunk.rng) for batch in chunk.batches])
        of_steps = losses.double().cpu().numpy()
        self._check(of_steps[:, 0])
        decision, answer, prompt = of_steps[:, 1:].mean(0).tolist()
        n_tokens = sum(batch.ids.size for batch in chunk.batches)
        seconds = time.monotonic() - began
        self.state.chunk += 1
        self.state.n_tokens += n_tokens
        self.state.seconds += seconds
        stage.source.learnt(answer)
        self._latest = [*self._latest[1 - self.SUMMARY_CHUNKS :], (decision, answer)]
        self.log(
            f"{stage.name} {100 * self.state.share(stage):.0f}% chunk {self.state.chunk} "
            f"tokens {self.state.n_tokens} {n_tokens / seconds:.0f}/s decision {decision:.4f} "
            f"copy {answer:.4f} text {prompt:.3f} {stage.source.state or ''}"
        )

    def _step(self, stage: Stage, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Learn from one batch. Returns its losses: all together, decision, answer, prompt. Shape: (4,)."""
        self._set_rates(stage)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.model.device.type == "cuda"):
            losses = batch_losses(self.model, batch, stage.weights, rng)
        loss = losses.total(stage.weights)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.n_steps += 1
        return torch.stack([loss, losses.decision, losses.answer, losses.prompt]).detach()

    def _check(self, losses: NDArray[np.float64]) -> None:
        """Stop if the loss of one of the last steps is not finite: the weights must not be saved."""
        for step, loss in enumerate(losses, start=self.n_steps - len(losses)):
            if not np.isfinite(loss):
                raise ModelError(
                    f"the loss is {loss} at step {step}; the last good checkpoint is {self.checkpoint}"
                )

    def _set_rates(self, stage: Stage) -> None:
        share = min(self.state.share(stage), 1.0)
        factor = (1 - share * (1 - stage.last)) * min(1.0, (self.n_steps + 1) / self.warm_up_steps)
        for optimiser, relative in zip(self.optimisers, (1.0, 2 / 3), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = stage.rate * relative * factor

    # ---- checkpoints

    def save(self, stages: Sequence[Stage]) -> None:
        """Write everything that the rest of the run depends on, then replace the last checkpoint."""
        partial = self.checkpoint.with_name(self.checkpoint.name + ".partial")
        content = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "progress": vars(self.state),
            "n_steps": self.n_steps,
            "sources": {stage.name: stage.source.state for stage in stages},
            "random": torch.get_rng_state(),
            "finished": [vars(summary) for summary in self.finished],
            "latest": self._latest,
        }
        try:
            torch.save(content, partial)
            partial.replace(self.checkpoint)
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{self.checkpoint}: cannot be written: {error}") from None
        self._saved_at = time.monotonic()

    def resume(self, stages: Sequence[Stage]) -> None:
        """Restore the last checkpoint. Raises ModelError if it is that of a model of another size."""
        content = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        try:
            self.model.load_state_dict(content["model"])
        except RuntimeError:  # its message has a line for each tensor
            raise ModelError(
                f"{self.checkpoint}: the checkpoint of a model of another size; "
                "resume with the options that the run began with"
            ) from None
        for optimiser, state in zip(self.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.state = TrainingState(**content["progress"])
        self.n_steps = content["n_steps"]
        for stage in stages:
            stage.source.state.update(content["sources"].get(stage.name, {}))
        torch.set_rng_state(content["random"])
        self.finished = [StageSummary(**summary) for summary in content["finished"]]
        self._latest = [(decision, copy) for decision, copy in content["latest"]]
        self.log(f"resumed at stage {self.state.stage}, chunk {self.state.chunk}")


def _optimisers(model: Any) -> list[torch.optim.Optimizer]:
    """Make Muon for the matrices of the blocks, AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed_tokens" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed_tokens" in name]
    return [
        Muon(matrices, lr=0.0),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]
