"""`constrained-ner train-bundled`: train the bundled model, from data to GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..constraint.bias import parse_bias
from ..errors import MissingExtraError
from ..evaluation.folds import N_FOLDS
from .run import RESUMES_IF_ASKED, CommandLine

_BUDGET, _DATA, _MEASURE, _RUN = "Budget", "Data", "Measurement", "Run"


def train_bundled(
    data: Annotated[
        Path, typer.Option(help="Folder with ddi/, text/, ner/ and lexicon/.", rich_help_panel=_DATA)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for tokenizer, checkpoint, log, models and card.")
    ],
    minutes: Annotated[
        tuple[float, float, float],
        typer.Option(help="Minutes per stage: copying, mixture, gold.", rich_help_panel=_BUDGET),
    ] = (10.0, 60.0, 30.0),
    tokens: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Tokens per stage instead of minutes; makes runs repeatable.", rich_help_panel=_BUDGET
        ),
    ] = None,
    devel: Annotated[
        Path | None,
        typer.Option(help="DDI XML to measure on; it is never trained on.", rich_help_panel=_MEASURE),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=N_FOLDS - 1,
            help="Leave this fold of the gold documents out, and measure on it.",
            rich_help_panel=_MEASURE,
        ),
    ] = None,
    n_measured: Annotated[
        int,
        typer.Option(
            help="Measure on N of these sentences after each stage; 0 for all.", rich_help_panel=_MEASURE
        ),
    ] = 300,
    gold: Annotated[
        bool,
        typer.Option(
            "--gold/--no-gold",
            help="Learn from the annotated documents, or leave them out of everything, the tokenizer, too: "
            "a start for trainings that leave any fold out.",
            rich_help_panel=_DATA,
        ),
    ] = True,
    start_from: Annotated[
        list[Path] | None,
        typer.Option(
            help="Start from the weights of an earlier --out. Repeat to start from the mean of several.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Model that marks text, as llm-NERC --model takes it.", rich_help_panel=_DATA),
    ] = None,
    soft: Annotated[
        bool,
        typer.Option(
            "--soft/--hard",
            help="Learn the teacher's probabilities, or its mentions as the lexicon corrects them.",
            rich_help_panel=_DATA,
        ),
    ] = True,
    adapter: Annotated[
        Path | None,
        typer.Option(help="Adapter (peft) for --teacher and --rows-from.", rich_help_panel=_DATA),
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(
            help="File of the probabilities, marks.jsonl in --out by default; enough without a --teacher.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    n_taught: Annotated[
        int, typer.Option(min=1, help="Sentences for --teacher to mark.", rich_help_panel=_DATA)
    ] = 20_000,
    vocabulary: Annotated[
        int, typer.Option(min=300, help="Tokens of a new tokenizer.", rich_help_panel=_DATA)
    ] = 8000,
    names_in_vocabulary: Annotated[
        int,
        typer.Option(
            min=0, help="How many times a new tokenizer is shown each public name.", rich_help_panel=_DATA
        ),
    ] = 0,
    feed_forward: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Width of the feed-forward layers of a new model; default: 768.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    rows_from: Annotated[
        str | None,
        typer.Option(
            help="Large model whose knowledge of each token the first embeddings get.", rich_help_panel=_DATA
        ),
    ] = None,
    of_batch: Annotated[
        bool,
        typer.Option(
            "--of-batch",
            help="Learn to copy against the tokens of the batch only; leaves rows of rare words as they are.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    listed: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, help="Share of the last stage that is lists of names.", rich_help_panel=_DATA
        ),
    ] = 0.0,
    batch_tokens: Annotated[
        int,
        typer.Option(
            min=1,
            help="Tokens of a batch in the last two stages. "
            "The learning rates are multiplied by the root of N / 3000.",
            rich_help_panel=_BUDGET,
        ),
    ] = 3000,
    bias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE=NUMBER",
            help="Put this bias into the weights at the end (see llm-NERC --bias). Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue from the checkpoint in --out.", rich_help_panel=_RUN),
    ] = False,
    feeders: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that make the batches ahead of the training; the result is the same.",
            rich_help_panel=_RUN,
        ),
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu, or cuda (in bfloat16).", rich_help_panel=_RUN)] = "cpu",
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Use torch.compile; default: on cuda.", rich_help_panel=_RUN
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", rich_help_panel=_RUN)] = None,
    seed: Annotated[
        int, typer.Option(help="Seed for initial weights and choice of examples.", rich_help_panel=_RUN)
    ] = 0,
) -> None:
    """Train the bundled model from scratch, export it, and write its card.

    \b
    Examples:
      constrained-ner train-bundled --data data --out model --devel data/ddi/devel.xml
      constrained-ner train-bundled --data data --out better --start-from model --minutes 0 45 35 --seed 3
      constrained-ner train-bundled --data data --out taught --teacher gemma3-270m --n-taught 10000
    """
    try:
        from ..training.bundled_model.recipe import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from None
    train(
        data,
        out,
        minutes=minutes,
        tokens=tokens,
        devel=devel,
        fold=fold,
        n_measured=n_measured,
        gold=gold,
        start_from=start_from or (),
        teacher=teacher,
        soft=soft,
        adapter=adapter,
        marks=marks,
        n_taught=n_taught,
        vocabulary=vocabulary,
        names_in_vocabulary=names_in_vocabulary,
        feed_forward=feed_forward,
        rows_from=rows_from,
        of_batch=of_batch,
        listed=listed,
        batch_tokens=batch_tokens,
        bias=parse_bias(bias or ()),
        resume=resume,
        feeders=feeders,
        device=device,
        compiled=compiled,
        threads=threads,
        seed=seed,
    )


main = CommandLine(train_bundled, stopped=RESUMES_IF_ASKED)
