"""The commands: options in, one clear line out when something is wrong.

`bin/llm-NERC` annotates a file, `bin/evaluate` scores one. Exit codes: 0 done, 1 done but some sentences
failed, 2 a mistake of the user's, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from .annotate import Annotator, DecoderName
from .corpora.ddi import read_ddi, read_predictions
from .errors import UserError
from .evaluation import evaluate
from .jobs import annotate_file
from .journal import require_writable, write_atomically
from .progress import Progress
from .prompts import PromptFile
from .schema import DDI, Schema


class Decoder(str, Enum):
    copy_draft = "copy-draft"
    stepwise = "stepwise"


class Rule(str, Enum):
    canonical = "canonical"
    any = "any"


class Boundary(str, Enum):
    word = "word"
    char = "char"


class Quantize(str, Enum):
    four = "4bit"
    eight = "8bit"


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def annotate(
    input: Annotated[Path, typer.Argument(help="DDI XML file, or a folder of them.")],
    output: Annotated[Path, typer.Argument(help="Evaluator lines; OUTPUT.run.json holds the run's record.")],
    constrained: Annotated[
        bool,
        typer.Option("--constrained/--unconstrained", help="Force a verbatim copy, or align afterwards."),
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="GGUF file, folder or hub id; the embedded model by default.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of a LoRA adapter (transformers).")] = None,
    quantize: Annotated[Quantize | None, typer.Option(help="Load in low precision (transformers).")] = None,
    device: Annotated[Device | None, typer.Option(help="Where to run (transformers).")] = None,
    decoder: Annotated[
        Decoder, typer.Option(help="How the constrained answer is found.")
    ] = Decoder.copy_draft,
    rule: Annotated[Rule, typer.Option(help="Tokenisations that are legal.")] = Rule.canonical,
    boundary: Annotated[Boundary, typer.Option(help="Where mentions may start and end.")] = Boundary.word,
    schema: Annotated[Path | None, typer.Option(help="Entity types, JSON or YAML; DDI by default.")] = None,
    prompt: Annotated[Path | None, typer.Option(help="Prompt file, JSON.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Annotate the first N sentences alone.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse mentions whose offsets are not exact.")
    ] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Sentences under way at once.")] = None,
    context: Annotated[int | None, typer.Option(min=64, help="Context length in tokens.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (GGUF).")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let a hub's model run its own code.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Find and classify the names in every sentence of INPUT.

    A stopped run keeps what it has done beside OUTPUT; the same command goes on from there.
    """
    backend_options: dict[str, Any] = {
        "adapter": adapter and str(adapter),
        "quantize": quantize and quantize.value,
        "device": device and device.value,
        "max_sequences": batch,
        "context_length": context,
        "n_threads": threads,
        "trust_remote_code": trust_remote_code or None,
    }
    name: DecoderName = decoder.value if constrained else "unconstrained"

    def load() -> Annotator:
        return Annotator.load(
            model,
            schema=Schema.load(schema) if schema else DDI,
            prompt=PromptFile.load(prompt) if prompt else None,
            decoder=name,
            rule=rule.value,
            boundary=boundary.value,
            **backend_options,
        )

    record = annotate_file(input, output, load, limit=limit, strict=strict, progress=Progress(quiet=quiet))
    if record.failures:
        raise typer.Exit(1)


def score(
    gold: Annotated[Path, typer.Argument(help="DDI XML with the right entities.")],
    predicted: Annotated[Path, typer.Argument(help="Evaluator lines, as llm-NERC writes them.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here, too.")] = None,
) -> None:
    """Print the official table of the DDI evaluator."""
    gold_mentions = [
        (sentence.id, mention)
        for document in read_ddi(gold)
        for sentence in document
        for mention in sentence.mentions
    ]
    evaluation = evaluate(gold_mentions, read_predictions(predicted))
    sys.stdout.write(evaluation.table())
    if json_file:
        require_writable(json_file)
        write_atomically(json_file, [json.dumps(evaluation.as_dict(), indent=2), "\n"])


def annotate_main() -> None:
    """Entry point of `llm-NERC`."""
    _run(annotate)


def evaluate_main() -> None:
    """Entry point of `evaluate`."""
    _run(score)


def _run(command: Callable[..., None]) -> None:
    """Run a command; a mistake of the user's is answered in one line, without a traceback."""

    @functools.wraps(command)
    def guarded(**arguments: Any) -> None:
        try:
            command(**arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded)
    app()
