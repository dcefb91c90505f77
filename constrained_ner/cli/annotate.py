"""`bin/llm-NERC`: annotate a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..annotate import Annotator, DecoderName
from ..bias import parse_bias
from ..corpora.lines import read_names
from ..jobs import annotate_file
from ..progress import Progress
from ..prompts import PromptFile
from ..schema import Schema
from .options import (
    AdapterOption,
    BatchOption,
    BiasOption,
    Boundary,
    BoundaryOption,
    ContextOption,
    DecoderOption,
    DeviceOption,
    Engine,
    EngineOption,
    ForceOption,
    LimitOption,
    LoraOption,
    MergeOption,
    MinConfidenceOption,
    ModelOption,
    PromptOption,
    QuantizeOption,
    QuietOption,
    RuleOption,
    SchemaOption,
    ThreadsOption,
    TrustRemoteCodeOption,
)
from .run import run


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
    names: Annotated[
        Path | None,
        typer.Option(help="Lines `name|type` to expect: faster where they come, the answers unchanged."),
    ] = None,
    min_confidence: MinConfidenceOption = 0.0,
    bias: BiasOption = None,
    limit: LimitOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse mentions whose offsets are not exact.")
    ] = False,
    batch: BatchOption = None,
    context: ContextOption = None,
    threads: ThreadsOption = None,
    trust_remote_code: TrustRemoteCodeOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A stopped run keeps what it has done beside OUTPUT; the same command goes on from there.
    """
    backend_options: dict[str, Any] = {
        "adapter": adapter and str(adapter),
        "lora": lora and str(lora),
        "merge": merge,
        "quantize": quantize and quantize.value,
        "device": device and device.value,
        "max_sequences": batch,
        "context_length": context,
        "n_threads": threads,
        "trust_remote_code": trust_remote_code or None,
    }
    chosen: DecoderName | None = decoder.value if decoder else None

    def load() -> Annotator:
        return Annotator.load(
            model,
            schema=Schema.load(schema) if schema else None,
            prompt=PromptFile.load(prompt) if prompt else None,
            decoder=chosen if constrained else "unconstrained",
            rule=rule.value if rule else None,
            engine=engine.value,
            boundary=boundary.value,
            names=read_names(names) if names else (),
            min_confidence=min_confidence,
            bias=parse_bias(bias or ()),
            force=force,
            **backend_options,
        )

    record = annotate_file(input, output, load, limit=limit, strict=strict, progress=Progress(quiet=quiet))
    if record.failures:
        raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    run(annotate)
