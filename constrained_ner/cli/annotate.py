"""`bin/llm-NERC`: annotate a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..adapters import AdapterCard
from ..annotation.annotator import Annotator, DecoderName
from ..backends.cache_size import cache_note
from ..constraint.bias import parse_bias
from ..data import Sentence
from ..formats.ddi import read_ddi
from ..formats.name_lines import read_names
from ..prompting.encoder import PromptFile
from ..prompting.examples import Shots, SimilarExamples
from ..runs.job import annotate_file
from ..runs.progress import Progress
from ..schema import DDI, Schema
from .options import (
    AdapterOption,
    BaseUrlOption,
    BatchOption,
    BiasOption,
    Boundary,
    BoundaryOption,
    ContextOption,
    DecoderOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    ExamplesOption,
    ExtraBuffersOption,
    ForceOption,
    Instructions,
    InstructionsOption,
    LimitOption,
    LoraOption,
    MaxPromptTokensOption,
    MergeOption,
    MinConfidenceOption,
    ModelOption,
    PromptOption,
    QuantizeOption,
    QuietOption,
    RuleOption,
    SchemaOption,
    SeedOption,
    SelectOption,
    ServerOption,
    ShotsOption,
    SplitOption,
    ThreadsOption,
    TimeoutOption,
    TrustRemoteCodeOption,
    backend_options,
)
from .run import GOES_ON, run


def annotate(
    input: Annotated[Path, typer.Argument(help="DDI XML file, or a folder of them.")],
    output: Annotated[
        Path,
        typer.Argument(
            help="Evaluator lines; beside it OUTPUT.mentions.jsonl with confidences, and OUTPUT.run.json."
        ),
    ],
    constrained: Annotated[
        bool,
        typer.Option("--constrained/--unconstrained", help="Force a verbatim copy, or align afterwards."),
    ] = True,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    adapter: AdapterOption = None,
    lora: LoraOption = None,
    merge: MergeOption = None,
    force: ForceOption = False,
    quantize: QuantizeOption = None,
    device: DeviceOption = None,
    decoder: DecoderOption = None,
    rule: RuleOption = None,
    engine: EngineOption = Engine.native,
    boundary: BoundaryOption = Boundary.word,
    schema: SchemaOption = None,
    prompt: PromptOption = None,
    instructions: InstructionsOption = Instructions.once,
    shots: ShotsOption = None,
    examples: ExamplesOption = None,
    select: SelectOption = "diverse",
    seed: SeedOption = 0,
    max_prompt_tokens: MaxPromptTokensOption = None,
    names: Annotated[
        Path | None,
        typer.Option(help="Lines `name|type` to expect: faster where they come, the answers unchanged."),
    ] = None,
    consistency: Annotated[
        bool | None,
        typer.Option(help="One type a name in a document; default: where mentions have a confidence."),
    ] = None,
    min_confidence: MinConfidenceOption = None,
    bias: BiasOption = None,
    split: SplitOption = None,
    limit: LimitOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse mentions whose offsets are not exact.")
    ] = False,
    batch: BatchOption = None,
    context: ContextOption = None,
    threads: ThreadsOption = None,
    extra_buffers: ExtraBuffersOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A stopped run keeps what it has done beside OUTPUT; the same command goes on from there.
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
    decoder_name: DecoderName | None = decoder.value if decoder else None

    progress = Progress(quiet=quiet)
    wanted = Shots.wanted(shots, examples, select, seed)

    def load() -> Annotator:
        chosen_prompt = PromptFile.named(prompt) if prompt else None
        chosen_schema = Schema.load(schema) if schema else None
        shown: Sequence[Sentence] | SimilarExamples = ()
        if wanted:
            card = AdapterCard.load(adapter) if adapter else None
            shown_schema = chosen_schema or (card.entity_schema if card else DDI)
            shown = wanted.choose(list(read_ddi(input)), input, shown_schema, boundary.value)
            n_tokens = wanted.n_tokens(shown)
            if model and (note := cache_note(model, n_tokens, on_cpu=device != Device.cuda)):
                progress.say(note)
        return Annotator.load(
            model,
            schema=chosen_schema,
            prompt=chosen_prompt,
            examples=shown,
            instructions=instructions.value,
            max_prompt_tokens=max_prompt_tokens,
            decoder=decoder_name if constrained else "unconstrained",
            rule=rule.value if rule else None,
            engine=engine.value,
            boundary=boundary.value,
            names=read_names(names) if names else (),
            min_confidence=min_confidence,
            bias=parse_bias(bias or ()),
            notify=lambda message: progress.say(f"note: {message}"),
            force=force,
            **model_options,
        )

    record = annotate_file(
        input,
        output,
        load,
        limit=limit,
        strict=strict,
        consistency=consistency,
        split=split.value if split else None,
        choices={**({"prompt": prompt} if prompt else {}), **(wanted.record() if wanted else {"shots": 0})},
        progress=progress,
    )
    if record.failures:
        raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    run(annotate, stopped=GOES_ON)
