"""`bin/finetune`: train a LoRA adapter on annotated sentences."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Device,
    DeviceOption,
    PromptOption,
    QuantizeOption,
    QuietOption,
    SchemaOption,
    TrustRemoteCodeOption,
)
from .run import GOES_ON_IF_ASKED, run


class Selection(str, Enum):
    all = "all"
    random = "random"
    balanced = "balanced"


class LossName(str, Enum):
    legal = "legal"
    completion = "completion"


def finetune(
    model: Annotated[str, typer.Option(help="Base model: a folder of transformers, or a hub's id.")],
    train: Annotated[Path, typer.Option(help="DDI XML to learn from.")],
    val: Annotated[Path, typer.Option(help="DDI XML to choose the best epoch on.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapter.")],
    quantize: QuantizeOption = None,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 32,
    alpha: Annotated[int, typer.Option(min=1, help="Its weight is alpha / rank.")] = 64,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.9, help="Dropout before the adapter.")] = 0.05,
    targets: Annotated[
        str, typer.Option(help="Layers: all-linear, or names such as q_proj,v_proj.")
    ] = "all-linear",
    lr: Annotated[
        float, typer.Option(min=0.0, help="Learning rate at its peak, falling as a cosine.")
    ] = 2e-4,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over the examples.")] = 3.0,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Steps instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Sentences at once, on each card.")] = 4,
    grad_accum: Annotated[int, typer.Option(min=1, help="Batches to a step.")] = 4,
    max_examples: Annotated[int | None, typer.Option(min=1, help="Learn from N sentences.")] = None,
    select: Annotated[
        Selection, typer.Option(help="Which ones: the first, any, or as many of each type.")
    ] = Selection.all,
    loss: Annotated[
        LossName, typer.Option(help="Over the legal tokens at each decision, or over the whole answer.")
    ] = LossName.legal,
    patience: Annotated[int, typer.Option(min=1, help="Stop after N epochs without a gain in F1.")] = 2,
    limit_val: Annotated[
        int | None, typer.Option(min=1, help="Measure F1 on N sentences of --val, from all over it.")
    ] = None,
    schema: SchemaOption = None,
    prompt: PromptOption = None,
    seed: Annotated[
        int, typer.Option(help="Of the adapter's first weights, the order of sentences, and --select.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    save_steps: Annotated[int, typer.Option(min=1, help="Steps between checkpoints within an epoch.")] = 200,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Compute activations twice instead of keeping them; default: on a graphics card.",
        ),
    ] = None,
    device: DeviceOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a LoRA adapter; the best epoch by constrained F1 on --val is kept in --out."""
    from ..training.finetune.folder import FinetuneSettings, is_first_process
    from ..training.finetune.run import finetune as train_adapter

    settings = FinetuneSettings(
        model=model,
        train=train,
        val=val,
        quantize=quantize.value if quantize else None,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets,
        lr=lr,
        epochs=epochs,
        max_steps=max_steps,
        batch=batch,
        grad_accum=grad_accum,
        max_examples=max_examples,
        select=select.value,
        loss=loss.value,
        patience=patience,
        seed=seed,
        limit_val=limit_val,
        prompt=prompt or "plain",
        schema_file=schema,
        device=(device or Device.auto).value,
        checkpointing=checkpointing,
        trust_remote_code=trust_remote_code,
        save_steps=save_steps,
    )
    silent = quiet or not is_first_process()

    def say(line: str) -> None:
        if not silent:
            print(line, file=sys.stderr, flush=True)

    record = train_adapter(settings, out, say, resume=resume)
    best = record.best
    figures = f"F1 micro {best['eval_micro_f1']:.1%}, macro {best['eval_macro_f1']:.1%}"
    say(f"{out}: the adapter of epoch {best['epoch']:g}, {figures}")


def main() -> None:
    """Entry point."""
    run(finetune, stopped=GOES_ON_IF_ASKED)
