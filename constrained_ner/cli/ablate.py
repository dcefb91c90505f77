"""`bin/ablate`: a grid of runs that differ in one thing at a time, and its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer

from ..adapters import AdapterCard
from ..annotation.annotator import Annotator, DecoderName
from ..backends.cache_size import cache_note
from ..data import Sentence
from ..decoding.engines import EngineName
from ..errors import UserError
from ..experiments.comparison import EXPLANATION
from ..experiments.grid import Arm, Backend, grid, run_grid
from ..formats.ddi import read_ddi
from ..prompting.examples import Shots, SimilarExamples
from ..prompting.wording import PromptFile
from ..runs.progress import Progress
from ..schema import DDI, Schema
from .options import (
    AdapterOption,
    BaseUrlOption,
    BatchOption,
    Boundary,
    BoundaryOption,
    ContextOption,
    Device,
    DeviceOption,
    ExtraBuffersOption,
    ForceOption,
    Instructions,
    InstructionsOption,
    LimitOption,
    LoraOption,
    MaxPromptTokensOption,
    MergeOption,
    QuantizeOption,
    QuietOption,
    SchemaOption,
    SeedOption,
    ServerOption,
    SplitOption,
    ThreadsOption,
    TimeoutOption,
    TrustRemoteCodeOption,
    backend_options,
)
from .run import GOES_ON, run

_CONSTRAINED: tuple[DecoderName, ...] = ("copy-draft", "stepwise")
_ENGINES: tuple[EngineName, ...] = get_args(EngineName)

Value = TypeVar("Value", bound=str)


def ablate(
    input: Annotated[Path, typer.Argument(help="DDI XML with gold entities, or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the runs and the table.")],
    arms: Annotated[
        str, typer.Option(help="constrained, unconstrained. Differences are to the first arm.")
    ] = "constrained,unconstrained",
    shots: Annotated[str, typer.Option(help="Numbers of examples in the prompt.")] = "0",
    select: Annotated[
        str, typer.Option(help="first, random, diverse, similar, or files of sentence ids.")
    ] = "diverse",
    examples: Annotated[Path | None, typer.Option(help="DDI XML that the examples come from.")] = None,
    seed: SeedOption = 0,
    prompt: Annotated[
        str | None,
        typer.Option(help="plain, strict, guide, or prompt files; default: the adapter's, or plain."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="As for llm-NERC; repeat it for more. Default: the bundled one.")
    ] = None,
    base_url: BaseUrlOption = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    decoder: Annotated[str, typer.Option(help="Of constrained arms: copy-draft, stepwise.")] = "copy-draft",
    engine: Annotated[str, typer.Option(help=f"Of constrained arms: {', '.join(_ENGINES)}.")] = "native",
    instructions: InstructionsOption = Instructions.once,
    max_prompt_tokens: MaxPromptTokensOption = None,
    limit: LimitOption = None,
    split: SplitOption = None,
    adapter: AdapterOption = None,
    lora: LoraOption = None,
    merge: MergeOption = None,
    force: ForceOption = False,
    quantize: QuantizeOption = None,
    device: DeviceOption = None,
    boundary: BoundaryOption = Boundary.word,
    schema: SchemaOption = None,
    batch: BatchOption = None,
    context: ContextOption = None,
    threads: ThreadsOption = None,
    extra_buffers: ExtraBuffersOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run every combination of what is listed on INPUT, and print one table.

    Lists are separated by commas. A stopped grid goes on where it was with the same command; finished arms
    are not repeated. OUT holds each arm's output and record, and the table as .md, .csv and .json.
    """
    model_options = backend_options(
        adapter=adapter,
        lora=lora,
        merge=merge,
        quantize=quantize,
        device=device,
        batch=batch,
        context=context,
        threads=threads,
        base_url=base_url,
        server=server,
        timeout=timeout,
        extra_buffers=extra_buffers,
        trust_remote_code=trust_remote_code,
    )
    chosen = grid(
        models=model or (None,),
        decoders=_decoders(arms, decoder),
        engines=_known("--engine", engine, _ENGINES),
        prompts=_values("--prompt", prompt) if prompt else (None,),
        shots=[_number(text) for text in _values("--shots", shots)],
        selects=_values("--select", select),
    )
    wanted = {arm: Shots.wanted(arm.shots, examples, arm.select or "", seed) for arm in chosen}
    progress = Progress(quiet=quiet)
    chosen_schema = Schema.load(schema) if schema else None
    card = AdapterCard.load(adapter) if adapter else None
    shown_schema = chosen_schema or (card.entity_schema if card else DDI)

    @cache  # constrained and unconstrained arms are shown the same
    def choose(shots: Shots) -> Sequence[Sentence] | SimilarExamples:
        return shots.choose(read_ddi(input), input, shown_schema, boundary.value)

    def open_arm(arm: Arm, backend: Backend | None) -> Annotator:
        shots = wanted[arm]
        shown = choose(shots) if shots else ()
        if shots and arm.model:
            note = cache_note(arm.model, shots.n_tokens(shown), on_cpu=device != Device.cuda)
            if note:
                progress.say(note)
        return Annotator.load(
            arm.model,
            schema=chosen_schema,
            prompt=PromptFile.named(arm.prompt) if arm.prompt else None,
            examples=shown,
            instructions=instructions.value,
            max_prompt_tokens=max_prompt_tokens,
            decoder=arm.decoder,
            engine=arm.engine,
            boundary=boundary.value,
            min_confidence=0.0,  # free answers have none: the arms differ in the constraint alone
            force=force,
            backend=backend,
            notify=lambda message: progress.say(f"note: {message}"),
            **model_options,
        )

    outcome = run_grid(
        chosen,
        input,
        out,
        open_arm,
        limit=limit,
        split=split.value if split else None,
        examples={"seed": seed, "examples": str(examples)},
        progress=progress,
    )
    outcome.save(out)
    sys.stdout.write(f"{outcome.comparison.table(options=False).text()}{EXPLANATION}\n")
    for arm, message in outcome.failed.items():
        print(f"error: arm {outcome.names[arm]}: {message}", file=sys.stderr)
    if outcome.failed:
        raise typer.Exit(1)


def _decoders(arms: str, decoder: str) -> list[DecoderName]:
    """The decoders of the arms, in their order."""
    constrained = _known("--decoder", decoder, _CONSTRAINED)
    free: list[DecoderName] = ["unconstrained"]
    kinds = _known("--arms", arms, ("constrained", "unconstrained"))
    return [name for kind in kinds for name in (constrained if kind == "constrained" else free)]


def _values(option: str, text: str) -> list[str]:
    """The values of a list, each once."""
    values = list(dict.fromkeys(value for part in text.split(",") if (value := part.strip())))
    if not values:
        raise UserError(f"{option}: nothing in the list {text!r:.80}")
    return values


def _known(option: str, text: str, known: Sequence[Value]) -> list[Value]:
    """The same for values of which all are known."""
    by_text = {str(value): value for value in known}
    values = _values(option, text)
    for value in values:
        if value not in by_text:
            raise UserError(f"{option}: {value!r:.80} is none of {', '.join(by_text)}")
    return [by_text[value] for value in values]


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise UserError(f"--shots: {text!r:.80} is not a number of examples")
    return int(text)


def main() -> None:
    """Entry point."""
    run(ablate, stopped=GOES_ON)
