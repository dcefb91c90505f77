"""`bin/ablate`: a grid of runs that differ in one thing at a time, and its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..ablation import Arm, Backend, grid, run_grid
from ..annotate import Annotator
from ..comparison import EXPLANATION
from ..engines import EngineName
from ..errors import UserError
from ..progress import Progress
from ..prompt_file import PromptFile
from ..schema import Schema
from .options import (
    AdapterOption,
    BatchOption,
    Boundary,
    BoundaryOption,
    ContextOption,
    DeviceOption,
    LimitOption,
    LoraOption,
    QuantizeOption,
    QuietOption,
    SchemaOption,
    ThreadsOption,
    TrustRemoteCodeOption,
)
from .run import run


def ablate(
    input: Annotated[Path, typer.Argument(help="DDI XML with gold entities, or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the runs and the table.")],
    arms: Annotated[
        str,
        typer.Option(help="Of: constrained, unconstrained. The first arm is what others are compared with."),
    ] = "constrained,unconstrained",
    shots: Annotated[str, typer.Option(help="Numbers of examples in the prompt.")] = "0",
    select: Annotated[
        str,
        typer.Option(help="Ways to choose them: first, random, diverse, similar, or files of sentence ids."),
    ] = "diverse",
    examples: Annotated[Path | None, typer.Option(help="DDI XML that the examples come from.")] = None,
    prompt: Annotated[str, typer.Option(help="Prompts: plain, strict, guide, or files.")] = "plain",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="GGUF, folder, hub id or server's model; repeat it for more. Default: the embedded one."
        ),
    ] = None,
    decoder: Annotated[str, typer.Option(help="For constrained arms: copy-draft, stepwise.")] = "copy-draft",
    engine: Annotated[
        str, typer.Option(help="For constrained arms: native, outlines, llguidance, xgrammar, gbnf.")
    ] = "native",
    seed: Annotated[int, typer.Option(help="For choosing examples.")] = 0,
    limit: LimitOption = None,
    adapter: AdapterOption = None,
    lora: LoraOption = None,
    quantize: QuantizeOption = None,
    device: DeviceOption = None,
    boundary: BoundaryOption = Boundary.word,
    schema: SchemaOption = None,
    batch: BatchOption = None,
    context: ContextOption = None,
    threads: ThreadsOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run every combination of what is listed on INPUT, and print one table.

    Lists are separated by commas. A stopped grid goes on where it was with the same command; finished arms
    are not repeated. OUT holds each arm's output and record, and the table as .md, .csv and .json.
    """
    backend_options: dict[str, Any] = {
        "adapter": adapter and str(adapter),
        "lora": lora and str(lora),
        "quantize": quantize and quantize.value,
        "device": device and device.value,
        "max_sequences": batch,
        "context_length": context,
        "n_threads": threads,
        "trust_remote_code": trust_remote_code or None,
    }
    kinds = _list("--arms", arms, ("constrained", "unconstrained"))
    decoders = _list("--decoder", decoder, ("copy-draft", "stepwise"))
    chosen = grid(
        models=model or (None,),
        decoders=[d for kind in kinds for d in (decoders if kind == "constrained" else [kind])],  # type: ignore[misc]
        engines=_list("--engine", engine, get_args(EngineName)),  # type: ignore[arg-type]
        prompts=_list("--prompt", prompt),
        shots=[_number(text) for text in _list("--shots", shots)],
        selects=_list("--select", select),
    )
    if examples is None and any(arm.shots for arm in chosen):
        raise UserError("--shots: examples have to come from somewhere: name a file with --examples")
    wanted = Schema.load(schema) if schema else None

    def open_arm(arm: Arm, backend: Backend | None) -> Annotator:
        return Annotator.load(
            arm.model,
            schema=wanted,
            prompt=PromptFile.named(arm.prompt) if arm.prompt else None,
            decoder=arm.decoder,
            engine=arm.engine,
            boundary=boundary.value,
            backend=backend,
            **backend_options,
        )

    progress = Progress(quiet=quiet)
    outcome = run_grid(chosen, input, out, open_arm, limit=limit, progress=progress)
    outcome.save(out)
    sys.stdout.write(f"{outcome.comparison().table(options=False).text()}{EXPLANATION}\n")
    for arm, message in outcome.failed.items():
        print(f"error: arm {outcome.names[arm]}: {message}", file=sys.stderr)
    if outcome.failed:
        raise typer.Exit(1)


def _list(option: str, text: str, known: Sequence[str] = ()) -> list[str]:
    """The values of a list, each once. UserError for one that is not known, if only some are."""
    values = list(dict.fromkeys(value for part in text.split(",") if (value := part.strip())))
    if not values:
        raise UserError(f"{option}: nothing in the list {text!r:.80}")
    for value in values:
        if known and value not in known:
            raise UserError(f"{option}: {value!r:.80} is none of {', '.join(known)}")
    return values


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--shots: {text!r:.80} is not a number of examples")
    return int(text)


def main() -> None:
    """Entry point."""
    run(ablate)
