"""`bin/export-gguf`: a model of transformers, or an adapter alone, as a GGUF file."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from ..errors import ModelError
from .options import ForceOption, QuietOption
from .run import run


class Type(str, Enum):
    f32 = "f32"
    f16 = "f16"
    bf16 = "bf16"
    q8_0 = "q8_0"
    q4_k_m = "q4_k_m"


def export(
    model: Annotated[str, typer.Option("--model", help="Folder or hub id of transformers (safetensors).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The GGUF file to write.")],
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="LoRA adapter to merge: folder or hub id.")
    ] = None,
    lora_only: Annotated[
        bool, typer.Option("--lora-only", help="Write the adapter alone, as a GGUF LoRA.")
    ] = False,
    type: Annotated[
        Type | None, typer.Option("--type", help="Precision; f16 by default, f32 with --lora-only.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Processor threads for q4_k_m.")
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model for llama.cpp: weights, tokenizer, chat template.

    Llama, Mistral, Qwen 2, Qwen 3, Gemma 1 to 3 (text). The file is kept only if llama.cpp reads the same
    tokens from it as the model's own tokenizer.
    """
    if lora_only and adapter is None:
        raise ModelError("--lora-only writes an adapter: say which with --adapter")
    if lora_only and type is Type.q4_k_m:
        raise ModelError("--lora-only: an adapter is too thin for q4_k_m; choose f32, f16, bf16 or q8_0")
    from ..export.to_gguf import export_lora, export_model  # heavy

    shown = sys.stderr.isatty() and not quiet
    with Bar(console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("tensors", total=None)

        def on_tensor(n_done: int, n_total: int) -> None:
            bar.update(task, completed=n_done, total=n_total)

        chosen: Any = type.value if type else "f32" if lora_only else "f16"
        if lora_only:
            written = export_lora(model, str(adapter), out, type=chosen, force=force, on_tensor=on_tensor)
        else:
            written = export_model(
                model, out, adapter=adapter, type=chosen, n_threads=threads, force=force, on_tensor=on_tensor
            )
    if not quiet:
        for note in written.notes:
            print(note, file=sys.stderr)
        kinds = ", ".join(f"{n} {kind}" for kind, n in written.kinds.items())
        size = out.stat().st_size / 1e6
        print(f"{out}: {written.architecture}, {size:.1f} MB, tensors: {kinds}", file=sys.stderr)


def main() -> None:
    """Entry point."""
    run(export)
