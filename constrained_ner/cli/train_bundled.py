"""`bin/train-bundled`: the bundled model, from data to GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..constraint.bias import parse_bias
from ..errors import MissingExtraError
from .run import GOES_ON_IF_ASKED, run


def train_bundled(
    data: Annotated[Path, typer.Option(help="Folder with ddi/, text/, ner/ and lexicon/.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for tokenizer, checkpoint, log, models and card.")
    ],
    minutes: Annotated[
        tuple[float, float, float], typer.Option(help="Minutes of copying, of the mixture, of gold.")
    ] = (10.0, 60.0, 30.0),
    tokens: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Tokens a stage instead of minutes: the same result on every run."),
    ] = None,
    devel: Annotated[Path | None, typer.Option(help="DDI XML to measure on, never to learn from.")] = None,
    n_measured: Annotated[
        int, typer.Option(help="Sentences of it to measure on after each stage, 0 for all.")
    ] = 300,
    start_from: Annotated[
        list[Path] | None,
        typer.Option(help="An earlier --out, whose weights are the start; of several, their mean."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="GGUF of an earlier model, which marks text to learn from beside the lexicon."),
    ] = None,
    n_taught: Annotated[int, typer.Option(min=1, help="Sentences that it marks.")] = 20_000,
    listed: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the last stage that is lists of names.")
    ] = 0.0,
    bias: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE=NUMBER", help="As llm-NERC --bias, put into the weights. Repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda (in bfloat16).")] = "cpu",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="With torch.compile; default: on cuda.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    seed: Annotated[int, typer.Option(help="Of first weights and of the choice of examples.")] = 0,
) -> None:
    """Train the bundled model from scratch, export it, and write its card."""
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
        n_measured=n_measured,
        start_from=start_from or (),
        teacher=teacher,
        n_taught=n_taught,
        listed=listed,
        bias=parse_bias(bias or ()),
        resume=resume,
        device=device,
        compiled=compiled,
        n_threads=threads,
        seed=seed,
    )


def main() -> None:
    """Entry point."""
    run(train_bundled, stopped=GOES_ON_IF_ASKED)
