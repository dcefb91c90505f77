"""Every option of annotation, declared once: its type and bounds, its default, its help text.

    settings = Settings(model="some.gguf", min_confidence=0.9)
    ner = Annotator.load(settings=settings)

The command line is made from these fields, `Annotator.load` takes them as keywords, a run's record writes
them, a grid varies them, and a run's fingerprint holds those that can change an answer. To add an option, add
a field here and use it where it matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, SkipValidation, TypeAdapter, ValidationError

from ..backends import GgufBackendName
from ..backends.bundled_cpu.model_files import Precision
from ..constraint.bias import parse_bias
from ..constraint.edges import Boundary
from ..constraint.legal import TokenRule
from ..data import Sentence
from ..decoding.engines import EngineName
from ..errors import UserError
from ..prompting.messages import Chooser, Instructions
from ..prompting.wording import PromptFile
from ..schema import Schema

Panel = Literal["Model", "Prompt", "Decoding", "Output"]


@dataclass(frozen=True)
class Option:
    """What a field of `Settings` is besides its type and default.

    panel: where it is listed in the help of a command.
    decides: a run with another value is another run, because its answers may differ. A path does not decide;
        what it leads to is hashed instead (see `Annotator.identity`).
    backend: back ends take it, under this name, when they load the model.
    typed: its type on the command line, if that is not the field's own. metavar: what its value is called
        there. off: the name that turns a switch off, if it is not --no-NAME.
    """

    help: str
    panel: Panel
    decides: bool = False
    backend: bool = False
    typed: Any = None
    metavar: str | None = None
    off: str | None = None


def _model(help: str, *, decides: bool = False) -> Option:
    return Option(help, "Model", decides=decides, backend=True)


def _bias_by_type(value: Any) -> Any:
    return parse_bias(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to annotate. `dataclasses.replace` makes a variant. Raises UserError, naming the option.

    In Python, `schema`, `prompt`, `examples` and `names` may also be the objects instead of files:
    examples is then a sequence of sentences with mentions, the most useful first, or a `Chooser`.
    """

    model: Annotated[
        str | None,
        Option(
            "GGUF file, transformers folder, hub id, or a name on a server: ollama:NAME, openai:NAME. "
            "Default: the bundled model.",
            "Model",
        ),
    ] = None
    backend: Annotated[
        GgufBackendName,
        _model(
            "What runs a GGUF file. auto: bundled-cpu if it has a graph beside it, as the bundled model has, "
            "else llamacpp."
        ),
    ] = "auto"
    precision: Annotated[Precision | None, _model("Arithmetic of bundled-cpu. Default: int8.")] = None
    adapter: Annotated[str | None, _model("Folder or hub id of a LoRA adapter (transformers).")] = None
    lora: Annotated[str | None, _model("GGUF LoRA to add to a GGUF model.")] = None
    merge: Annotated[
        bool | None,
        _model("Add the adapter to the weights. Default: yes, unless the model is quantized.", decides=True),
    ] = None
    force: Annotated[bool, Option("Use an adapter with settings it was not trained for.", "Model")] = False
    quantize: Annotated[
        Literal["4bit", "8bit"] | None, _model("Load in low precision (transformers).", decides=True)
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, _model("Where to run (transformers).")] = None
    batch: Annotated[int | None, Field(ge=1), _model("Sentences that the model works on at once.")] = None
    context: Annotated[int | None, Field(ge=64), _model("Context length in tokens.")] = None
    threads: Annotated[int | None, Field(ge=1), _model("Processor threads (GGUF).")] = None
    extra_buffers: Annotated[
        bool | None,
        _model("Let llama.cpp rearrange weights for the processor. Default: no on processors with AMX."),
    ] = None
    trust_remote_code: Annotated[bool, _model("Let a model from the hub run its own code.")] = False
    base_url: Annotated[str | None, _model("Address of the server of openai:NAME or ollama:NAME.")] = None
    server: Annotated[
        Literal["llama-server", "llama-cpp-python", "vllm", "sglang", "openai"] | None,
        _model("What the server of openai:NAME is, if it does not say."),
    ] = None
    timeout: Annotated[float | None, Field(ge=0.1), _model("Seconds to wait for a server's answer.")] = None

    schema: Annotated[
        Schema | Path | None,
        Option("Entity types (JSON or YAML). Default: the adapter's, or DDI.", "Prompt", typed=Path),
    ] = None
    prompt: Annotated[
        PromptFile | str | None,
        Option(
            "plain, strict, guide, or a prompt file (JSON). Default: the adapter's, or plain.",
            "Prompt",
            typed=str,
        ),
    ] = None
    instructions: Annotated[
        Instructions, Option("State the instructions once, or in each turn.", "Prompt", decides=True)
    ] = "once"
    shots: Annotated[
        int | None, Field(ge=0), Option("Show N examples, taken from --examples.", "Prompt", metavar="N")
    ] = None
    examples: Annotated[
        SkipValidation[Sequence[Sentence] | Chooser | Path | None],
        BeforeValidator(_as_path),
        Option("DDI XML to take examples from.", "Prompt", typed=Path),
    ] = None
    select: Annotated[
        str,
        Option(
            "How to choose examples: first, random, diverse, similar, or a file of sentence ids, one a line.",
            "Prompt",
        ),
    ] = "diverse"
    seed: Annotated[int, Option("Seed for examples drawn at random.", "Prompt")] = 0
    max_prompt_tokens: Annotated[
        int | None,
        Field(ge=1),
        Option("Keep instructions and examples within N tokens.", "Prompt", decides=True, metavar="N"),
    ] = None

    constrained: Annotated[
        bool,
        Option(
            "Force a verbatim copy, or generate freely and align.",
            "Decoding",
            decides=True,
            off="--unconstrained",
        ),
    ] = True
    decoder: Annotated[
        Literal["copy-draft", "stepwise"] | None,
        Option("How to find the constrained answer. Default: copy-draft.", "Decoding", decides=True),
    ] = None
    rule: Annotated[
        TokenRule | None,
        Option("Which tokenizations of an answer are legal. Default: canonical.", "Decoding", decides=True),
    ] = None
    engine: Annotated[
        EngineName,
        Option(
            "What computes the legal tokens. Engines other than native are for comparison.",
            "Decoding",
            decides=True,
        ),
    ] = "native"
    boundary: Annotated[Boundary, Option("Where mentions may start and end.", "Decoding", decides=True)] = (
        "word"
    )
    names: Annotated[
        tuple[tuple[str, str], ...] | Path | None,
        Option(
            "Names to expect, as lines name|type. They speed up decoding and change no answer.",
            "Decoding",
            typed=Path,
        ),
    ] = None
    bias: Annotated[
        Mapping[str, Annotated[float, Field(allow_inf_nan=False)]],
        BeforeValidator(_bias_by_type),
        Option(
            "Find more of a type (drug_n=+0.5) or less (drug=-0.5). Repeatable.",
            "Decoding",
            decides=True,
            typed=list[str],
            metavar="TYPE=NUMBER",
        ),
    ] = field(default_factory=dict)

    consistency: Annotated[
        bool | None,
        Option(
            "Give each name one type in a document, and mark it everywhere or nowhere. "
            "Default: if mentions have a confidence.",
            "Output",
            decides=True,
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        Field(ge=0, le=1),
        Option(
            "Leave out mentions less sure. Default: 0.4 for calibrated models, else 0.",
            "Output",
            decides=True,
        ),
    ] = None
    strict: Annotated[
        bool, Option("Leave out mentions whose offsets are not exact.", "Output", decides=True)
    ] = False

    def __post_init__(self) -> None:
        for name, adapter in _adapters().items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, adapter.validate_python(value))
            except ValidationError as error:
                message = error.errors()[0]["msg"].replace("Input should be", "must be")
                raise UserError(f"{name}: {message} (got {value!r:.60})") from None
        if self.engine != "native":
            self._check_engine()

    def _check_engine(self) -> None:
        engine = f"--engine {self.engine}"
        if not self.constrained or self.decoder == "copy-draft":
            other = self.decoder if self.constrained else "--unconstrained"
            raise UserError(f"{engine} decodes stepwise; it cannot be combined with {other}")
        if self.rule == "canonical":
            raise UserError(f"{engine} has the rule any; it cannot be combined with canonical")
        if self.bias:  # the states of other engines do not say which type a tag has
            raise UserError(f"{engine} takes no bias; use --engine native")

    def model_options(self) -> dict[str, Any]:
        """What the back end takes when it loads the model; None means its own default."""
        options = {name: getattr(self, name) for name, option in options_by_name().items() if option.backend}
        return {**options, "trust_remote_code": self.trust_remote_code or None}

    def deciding(self) -> dict[str, Any]:
        """The options that can change an answer, as plain data."""
        return {name: getattr(self, name) for name, option in options_by_name().items() if option.decides}


@cache
def options_by_name() -> dict[str, Option]:
    """The fields of `Settings`, in order, with what each is as an option."""
    return {
        name: next(part for part in annotation.__metadata__ if isinstance(part, Option))
        for name, annotation in field_types().items()
    }


@cache
def field_types() -> dict[str, Any]:
    """The fields of `Settings`, in order, with their `Annotated` types."""
    hints = get_type_hints(Settings, include_extras=True)
    return {f.name: hints[f.name] for f in fields(Settings)}


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    config = ConfigDict(arbitrary_types_allowed=True)  # a Chooser is not checked
    return {name: TypeAdapter(annotated, config=config) for name, annotated in field_types().items()}
