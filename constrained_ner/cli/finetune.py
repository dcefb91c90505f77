"""`constrained-ner finetune`: train a LoRA adapter, or a whole small model, on annotated sentences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..constraint.answer_form import AnswerName
from ..prompting.wording import USUAL_PROMPTS
from .options import (
    DeviceOption,
    PromptOption,
    QuantizeOption,
    QuietOption,
    SchemaOption,
    TrustRemoteCodeOption,
    TypesOption,
    asked_types,
)
from .run import RESUMES_IF_ASKED, CommandLine

_DATA, _ADAPTER, _TRAINING, _RUN = "Data", "Adapter", "Training", "Run"


def finetune(
    model: Annotated[str, typer.Option(help="Base model: a transformers folder, a hub id, or a GGUF file.")],
    train: Annotated[
        Path, typer.Option(help="Annotated file to learn from, of any format.", rich_help_panel=_DATA)
    ],
    val: Annotated[
        Path, typer.Option(help="Annotated file to choose the best epoch on.", rich_help_panel=_DATA)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapter.")],
    quantize: QuantizeOption = None,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.", rich_help_panel=_ADAPTER)] = 32,
    alpha: Annotated[
        int, typer.Option(min=1, help="Scale the adapter by alpha / rank.", rich_help_panel=_ADAPTER)
    ] = 64,
    dropout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Dropout before the adapter.", rich_help_panel=_ADAPTER)
    ] = 0.0,
    targets: Annotated[
        str,
        typer.Option(
            help="Layers to adapt: all-linear, or names such as q_proj,v_proj.", rich_help_panel=_ADAPTER
        ),
    ] = "all-linear",
    lr: Annotated[
        float,
        typer.Option(min=0.0, help="Peak learning rate, with cosine decay.", rich_help_panel=_TRAINING),
    ] = 2e-4,
    epochs: Annotated[
        float, typer.Option(min=0.01, help="Passes over the examples.", rich_help_panel=_TRAINING)
    ] = 3.0,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Train for N steps, whatever --epochs says.", rich_help_panel=_TRAINING),
    ] = None,
    batch_tokens: Annotated[
        int,
        typer.Option(
            min=1,
            help="Tokens at once, per GPU, in sentences of like length.",
            rich_help_panel=_TRAINING,
        ),
    ] = 2000,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Sentences at once, per GPU, of any lengths; instead of --batch-tokens.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    grad_accum: Annotated[int, typer.Option(min=1, help="Batches per step.", rich_help_panel=_TRAINING)] = 1,
    max_examples: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from N sentences; see --select.", rich_help_panel=_DATA),
    ] = None,
    select: Annotated[
        Literal["all", "random", "balanced"],
        typer.Option(
            help="Choose the --max-examples sentences: the first, at random, or with balanced types.",
            rich_help_panel=_DATA,
        ),
    ] = "all",
    loss: Annotated[
        Literal["legal", "completion"],
        typer.Option(
            help="Loss over the legal tokens at each decision, or over the whole answer.",
            rich_help_panel=_TRAINING,
        ),
    ] = "legal",
    patience: Annotated[
        int,
        typer.Option(min=1, help="Stop after N epochs without a better F1.", rich_help_panel=_TRAINING),
    ] = 2,
    limit_val: Annotated[
        int | None,
        typer.Option(min=1, help="Measure F1 on N sentences spread over --val.", rich_help_panel=_DATA),
    ] = None,
    also: Annotated[
        Path | None,
        typer.Option(
            help="Annotated file with other types to learn from, too; see --also-types.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    also_types: Annotated[
        str | None,
        typer.Option(
            metavar="THEIRS=MEANING,...",
            help="What its types mean: none (no name of ours), unknown, or our types (brand+drug). "
            "*=none: text that is not marked has no name of ours either.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    also_examples: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from N sentences of --also, at random.", rich_help_panel=_DATA),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Train all weights of a small model, not an adapter.", rich_help_panel=_ADAPTER
        ),
    ] = False,
    tag_tokens: Annotated[
        bool,
        typer.Option(
            "--tag-tokens", help="Make each tag a token of its own; needs --full.", rich_help_panel=_ADAPTER
        ),
    ] = False,
    types: TypesOption = None,
    schema: SchemaOption = None,
    prompt: PromptOption = None,
    answer: Annotated[
        AnswerName, typer.Option(help="What the model learns to write: the sentence with tags, or a list.")
    ] = "tags",
    occurrences: Annotated[
        bool,
        typer.Option("--occurrences", help="With --answer list: an entry stands for one place of its name."),
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            help="Seed for initial weights, order of sentences, and --select.", rich_help_panel=_TRAINING
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue from the last checkpoint in --out.", rich_help_panel=_RUN),
    ] = False,
    save_steps: Annotated[
        int,
        typer.Option(
            min=1, help="Save a checkpoint every N steps, besides each epoch.", rich_help_panel=_RUN
        ),
    ] = 200,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Recompute activations instead of keeping them; default: on GPU.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    device: DeviceOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a LoRA adapter, and keep the epoch with the best constrained F1 on --val in --out.

    \b
    Examples:
      constrained-ner finetune --model MODEL --train train.xml --val val.xml --out adapter
      constrained-ner finetune --model MODEL --train train.xml --val val.xml --out a --quantize 4bit --resume
      constrained-ner finetune --model model.gguf --train train.xml --val val.xml --out adapter --prompt bare
      constrained-ner finetune --model SMALL --train train.xml --val val.xml --out model --full --tag-tokens
    """
    from ..training.finetune.folder import FinetuneSettings, is_first_process
    from ..training.finetune.run import finetune as train_adapter

    settings = FinetuneSettings(
        model=model,
        train=train,
        val=val,
        quantize=quantize,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets,
        lr=lr,
        epochs=epochs,
        max_steps=max_steps,
        batch_tokens=batch_tokens,
        batch=batch,
        grad_accum=grad_accum,
        max_examples=max_examples,
        select=select,
        loss=loss,
        patience=patience,
        seed=seed,
        limit_val=limit_val,
        types=asked_types(types),
        also=also,
        also_types=asked_types(also_types, "--also-types", "GENE=none,Drug=drug"),
        also_examples=also_examples,
        full=full,
        tag_tokens=tag_tokens,
        prompt=prompt or USUAL_PROMPTS[answer],
        answer=answer,
        occurrences=occurrences,
        schema_file=schema,
        device=device or "auto",
        checkpointing=checkpointing,
        trust_remote_code=trust_remote_code,
        save_steps=save_steps,
    )
    silent = quiet or not is_first_process()

    def log(line: str) -> None:
        if not silent:
            print(line, file=sys.stderr, flush=True)

    record = train_adapter(settings, out, log, resume=resume)
    best = record.best
    figures = f"F1 micro {best['eval_micro_f1']:.1%}, macro {best['eval_macro_f1']:.1%}"
    what = "model" if settings.full else "adapter"
    log(f"{out}: the {what} of epoch {best['epoch']:g}, {figures}")


main = CommandLine(finetune, stopped=RESUMES_IF_ASKED)
