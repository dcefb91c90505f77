"""Options that several commands share, each said once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class Decoder(str, Enum):
    copy_draft = "copy-draft"
    stepwise = "stepwise"


class Rule(str, Enum):
    canonical = "canonical"
    any = "any"


class Engine(str, Enum):
    native = "native"
    outlines = "outlines"
    llguidance = "llguidance"
    xgrammar = "xgrammar"
    gbnf = "gbnf"


class Boundary(str, Enum):
    word = "word"
    char = "char"


class Instructions(str, Enum):
    once = "once"
    each = "each"


class Split(str, Enum):
    train = "train"
    devel = "devel"
    test = "test"


class Server(str, Enum):
    llama_server = "llama-server"
    llama_cpp_python = "llama-cpp-python"
    vllm = "vllm"
    sglang = "sglang"
    openai = "openai"


class Quantize(str, Enum):
    four = "4bit"
    eight = "8bit"


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="GGUF file, folder, hub id, ollama:NAME or openai:NAME; the bundled model by default.",
    ),
]
AdapterOption = Annotated[
    Path | None, typer.Option("--adapter", help="Folder of a LoRA adapter (transformers).")
]
LoraOption = Annotated[
    Path | None, typer.Option("--lora", help="GGUF LoRA, added to a GGUF model (llama.cpp).")
]
MergeOption = Annotated[
    bool | None,
    typer.Option("--merge/--no-merge", help="Add the adapter to the weights; default: unless quantised."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Use an adapter with what it was not trained for.")
]
QuantizeOption = Annotated[
    Quantize | None, typer.Option("--quantize", help="Load in low precision (transformers).")
]
DeviceOption = Annotated[Device | None, typer.Option("--device", help="Where to run (transformers).")]
DecoderOption = Annotated[
    Decoder | None,
    typer.Option("--decoder", help="How the constrained answer is found; copy-draft by default."),
]
RuleOption = Annotated[
    Rule | None, typer.Option("--rule", help="Tokenisations that are legal; canonical by default.")
]
EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="What says which tokens are legal; others than native for comparison."),
]
BoundaryOption = Annotated[Boundary, typer.Option("--boundary", help="Where mentions may start and end.")]
SchemaOption = Annotated[
    Path | None, typer.Option("--schema", help="Entity types, JSON or YAML; DDI by default.")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="plain, strict, guide, or a prompt file (JSON).")
]
InstructionsOption = Annotated[
    Instructions, typer.Option("--instructions", help="State them once, or in each turn.")
]
ShotsOption = Annotated[
    int | None, typer.Option("--shots", min=0, help="How many examples the prompt shows.")
]
ExamplesOption = Annotated[
    Path | None, typer.Option("--examples", help="DDI XML that the examples come from.")
]
SelectOption = Annotated[
    str,
    typer.Option("--select", help="first, random, diverse, similar, or a file of sentence ids, one a line."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="For examples that are drawn at random.")]
MaxPromptTokensOption = Annotated[
    int | None,
    typer.Option("--max-prompt-tokens", min=1, help="The most that instructions and examples may take."),
]
SplitOption = Annotated[
    Split | None, typer.Option("--split", help="Which split INPUT is, where its content does not tell.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Annotate the first N sentences alone.")
]
BatchOption = Annotated[int | None, typer.Option("--batch", min=1, help="Sentences under way at once.")]
ContextOption = Annotated[int | None, typer.Option("--context", min=64, help="Context length in tokens.")]
BaseUrlOption = Annotated[
    str | None,
    typer.Option("--base-url", help="Address of the server, for --model openai:NAME or ollama:NAME."),
]
ServerOption = Annotated[
    Server | None, typer.Option("--server", help="What the server is, if it does not say (openai:NAME).")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer of a server.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Processor threads (GGUF).")]
ExtraBuffersOption = Annotated[
    bool | None,
    typer.Option(
        "--extra-buffers/--no-extra-buffers",
        help="Let llama.cpp rearrange the weights for this processor; default: unless it uses AMX.",
    ),
]
TrustRemoteCodeOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a hub's model run its own code.")
]
MinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        min=0.0,
        max=1.0,
        help="Leave out mentions that are less sure; default: 0.4 for calibrated models, else 0.",
    ),
]
BiasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bias", metavar="TYPE=NUMBER", help="Find more of a type (drug_n=+0.5), or less. Repeatable."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def backend_options(
    *,
    adapter: Path | None,
    lora: Path | None,
    merge: bool | None,
    quantize: Quantize | None,
    device: Device | None,
    batch: int | None,
    context: int | None,
    threads: int | None,
    extra_buffers: bool | None,
    base_url: str | None,
    server: Server | None,
    timeout: float | None,
    trust_remote_code: bool,
) -> dict[str, Any]:
    """The options of models under the names that back ends give them; None is a back end's own default."""
    return {
        "adapter": adapter and str(adapter),
        "lora": lora and str(lora),
        "merge": merge,
        "quantize": quantize and quantize.value,
        "device": device and device.value,
        "batch": batch,
        "context": context,
        "threads": threads,
        "extra_buffers": extra_buffers,
        "base_url": base_url,
        "server": server and server.value,
        "timeout": timeout,
        "trust_remote_code": trust_remote_code or None,
    }
