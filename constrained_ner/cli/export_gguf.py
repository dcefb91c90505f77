"""`constrained-ner export-gguf`: export a transformers model or an adapter to a GGUF file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from ..errors import ModelError
from .options import ForceOption, QuietOption
from .run import CommandLine

_MODEL, _OUTPUT, _RUN = "Model", "Output", "Run"


def export(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Transformers model (safetensors): folder or hub id. With --lora-only also a GGUF file.",
            rich_help_panel=_MODEL,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="GGUF file to write.", rich_help_panel=_OUTPUT)],
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", help="LoRA adapter to merge: folder or hub id.", rich_help_panel=_MODEL),
    ] = None,
    lora_only: Annotated[
        bool,
        typer.Option("--lora-only", help="Write only the adapter, as a GGUF LoRA.", rich_help_panel=_OUTPUT),
    ] = False,
    type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0", "q4_k_m"] | None,
        typer.Option(
            "--type", help="Precision; default: f16, or f32 with --lora-only.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="CPU threads for q4_k_m.", rich_help_panel=_RUN),
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a model for llama.cpp: weights, tokenizer, chat template.

    Supports Llama, Mistral, Qwen 2, Qwen 3, and Gemma 1 to 3 (text). The file is kept only if llama.cpp reads
    the same tokens from it as the model's own tokenizer.

    \b
    Examples:
      constrained-ner export-gguf --model MODEL --adapter adapter --out model.gguf --type q8_0
      constrained-ner export-gguf --model MODEL --adapter adapter --lora-only --out adapter.gguf
    """
    if lora_only and adapter is None:
        raise ModelError("--lora-only writes an adapter; name it with --adapter")
    if lora_only and type == "q4_k_m":
        raise ModelError("--type q4_k_m: a LoRA's rows are too short for it; choose f32, f16, bf16 or q8_0")
    from ..export.to_gguf import export_lora, export_model  # heavy

    shown = sys.stderr.isatty() and not quiet
    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("tensors", total=None)

        def on_tensor(n_done: int, n_total: int) -> None:
            bar.update(task, completed=n_done, total=n_total)

        if lora_only and type != "q4_k_m":  # q4_k_m was refused above
            written = export_lora(
                model, str(adapter), out, type=type or "f32", force=force, on_tensor=on_tensor
            )
        else:
            written = export_model(
                model,
                out,
                adapter=adapter,
                type=type or "f16",
                threads=threads,
                force=force,
                on_tensor=on_tensor,
            )
    if not quiet:
        for note in written.notes:
            print(note, file=sys.stderr)
        kinds = ", ".join(f"{n} {kind}" for kind, n in written.kinds.items())
        size = out.stat().st_size / 1e6
        print(f"{out}: {written.architecture}, {size:.1f} MB, tensors: {kinds}", file=sys.stderr)


main = CommandLine(export)
