"""Every option of annotation, declared once: its type and bounds, its default, its help text.

    settings = Settings(model="some.gguf", min_confidence=0.9)
    ner = Annotator.load(settings=settings)

The command line is made from these fields, `Annotator.load` takes them as keywords, a run's record writes
them, a grid varies them, and a run's fingerprint holds those that can change an answer. To add an option, add
a field here and use it where it matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
)

from ..backends import GgufBackendName
from ..backends.bundled_cpu.model_files import Precision
from ..backends.servers import PRODUCTS
from ..constraint.answer_form import AnswerName
from ..constraint.edges import Boundary
from ..constraint.legal import TokenRule
from ..data import Sentence
from ..decoding.engines import EngineName
from ..errors import UnknownOptionError, UserError
from ..misfits import why
from ..prompting.examples.request import SELECTIONS
from ..prompting.messages import Chooser, Instructions
from ..prompting.wording import PromptFile
from ..schema import Schema
from ..text.view import ViewName
from .option import (
    Option,
    as_examples,
    as_lexicon,
    as_text,
    bias_by_type,
    known_method,
    known_server,
    lexicon_numbers,
    model_option,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to annotate. `dataclasses.replace` makes a variant. Raises UserError, naming the option.

    In Python, `schema`, `prompt`, `examples` and `names` may also be the objects instead of files:
    examples is then a sequence of sentences with mentions, the most useful first, or a `Chooser`.
    """

    model: Annotated[
        str | None,
        BeforeValidator(as_text),
        Option(
            "GGUF file (or PACKAGE:FILE.gguf), transformers folder, hub id, or a name on a server: "
            "ollama:NAME, openai:NAME. "
            "Default: the bundled model.",
            "Model",
        ),
    ] = None
    backend: Annotated[
        GgufBackendName,
        model_option(
            "What runs a GGUF file. auto: bundled-cpu if it has a graph beside it, as the bundled model has; "
            "onnx for an adapter that ships, if its extra is installed; else llamacpp."
        ),
    ] = "auto"
    precision: Annotated[
        Precision | None,
        model_option("Arithmetic of bundled-cpu and onnx. Default: int8."),
    ] = None
    adapter: Annotated[
        str | None,
        BeforeValidator(as_text),
        model_option("Folder or hub id of a LoRA adapter (transformers)."),
    ] = None
    lora: Annotated[
        str | None, BeforeValidator(as_text), model_option("GGUF LoRA to add to a GGUF model.")
    ] = None
    merge: Annotated[
        bool | None,
        model_option(
            "Add the adapter to the weights. Default: yes, unless the model is quantized.", decides=True
        ),
    ] = None
    force: Annotated[bool, Option("Use an adapter with settings it was not trained for.", "Model")] = False
    quantize: Annotated[
        Literal["4bit", "8bit"] | None, model_option("Load in low precision (transformers).", decides=True)
    ] = None
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, model_option("Where to run (transformers).")] = (
        None
    )
    batch: Annotated[int | None, Field(ge=1), model_option("Sentences that the model works on at once.")] = (
        None
    )
    context: Annotated[int | None, Field(ge=64), model_option("Context length in tokens.")] = None
    threads: Annotated[
        int | None,
        Field(ge=1),
        model_option("Processor threads. Default: 1 for small GGUF models, what is free for others."),
    ] = None
    extra_buffers: Annotated[
        bool | None,
        model_option(
            "Let llama.cpp rearrange weights for the processor. Default: no on processors with AMX."
        ),
    ] = None
    trust_remote_code: Annotated[bool, model_option("Let a model from the hub run its own code.")] = False
    base_url: Annotated[str | None, model_option("Address of the server of openai:NAME or ollama:NAME.")] = (
        None
    )
    server: Annotated[
        str | None,
        AfterValidator(known_server),
        model_option(f"Server product behind openai:NAME, if it cannot be detected: {', '.join(PRODUCTS)}."),
    ] = None
    timeout: Annotated[
        float | None, Field(ge=0.1), model_option("Seconds to wait for a server's answer.")
    ] = None

    schema: Annotated[
        Schema | Path | None,
        Option(
            "Entity types (JSON or YAML). Default: the adapter's, or DDI.",
            "Prompt",
            typed=Path,
            allowed="a Schema, or the path of a JSON or YAML file",
        ),
    ] = None
    answer: Annotated[
        AnswerName | None,
        Option(
            "What the model writes: the sentence with tags, or a list of its names (for models that were not "
            "tuned). Default: the adapter's, or tags.",
            "Prompt",
            decides=True,
        ),
    ] = None
    occurrences: Annotated[
        bool | None,
        Option(
            "With --answer list: an entry stands for one place of its name, with a number from the second "
            "on, not for all places.",
            "Prompt",
            decides=True,
        ),
    ] = None
    prompt: Annotated[
        PromptFile | str | None,
        Option(
            "plain, strict, guide, bare, list, or a prompt file (JSON). Default: the adapter's, or list for "
            "--answer list, else plain.",
            "Prompt",
            typed=str,
            allowed="a PromptFile, the name of one that ships, or a path",
        ),
    ] = None
    view: Annotated[
        ViewName,
        Option(
            "What the model is shown: plain characters and ordinary case, or the text as it is.",
            "Prompt",
            decides=True,
        ),
    ] = "plain"
    instructions: Annotated[
        Instructions, Option("State the instructions once, or in each turn.", "Prompt", decides=True)
    ] = "once"
    shots: Annotated[
        int | None, Field(ge=0), Option("Show N examples, taken from --examples.", "Prompt", metavar="N")
    ] = None
    examples: Annotated[
        SkipValidation[Sequence[Sentence] | Chooser | Path | None],
        BeforeValidator(as_examples),
        Option("Annotated file to take examples from: DDI XML, BRAT, JSON lines, ...", "Prompt", typed=Path),
    ] = None
    select: Annotated[
        str,
        Option(
            f"How to choose examples: {', '.join(SELECTIONS)}, or a file of sentence ids, one a line.",
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
    boundary: Annotated[
        Boundary, Option("Where mentions may start and end.", "Decoding", decides=True, per_request=True)
    ] = "word"
    names: Annotated[
        tuple[tuple[str, str], ...] | Path | None,
        Option(
            "File of likely names, one name|type a line. Speeds up decoding; never changes the answer. "
            "Default: public lists of drug names.",
            "Decoding",
            typed=Path,
            allowed="pairs of a name and a type, or the path of a file with name|type lines",
        ),
    ] = None
    lexicon: Annotated[
        Literal["public", "none"] | tuple[tuple[str, str], ...] | Path | None,
        BeforeValidator(as_lexicon),
        Option(
            "Names to make likelier where the text has them: public, none, or a file of name|type lines. "
            "Default: public for adapters that ship, else none.",
            "Decoding",
            typed=str,
            metavar="FILE|public|none",
            allowed="public, none, pairs of a name and a type, or the path of a file with name|type lines",
        ),
    ] = None
    lexicon_weight: Annotated[
        Mapping[str, Annotated[float, Field(allow_inf_nan=False)]],
        BeforeValidator(lexicon_numbers),
        Option(
            "How much likelier the lexicon makes a tag (open=2), its type (type=5), and its end (close=1). "
            "Repeatable.",
            "Decoding",
            decides=True,
            typed=list[str],
            metavar="WHAT=NUMBER",
            allowed="finite numbers for open, type or close, such as {'type': 5}",
        ),
    ] = field(default_factory=dict)
    legal_mass: Annotated[
        bool, Option("Measure the share of the model's probability that is legal. Takes time.", "Decoding")
    ] = False
    bias: Annotated[
        Mapping[str, Annotated[float, Field(allow_inf_nan=False)]],
        BeforeValidator(bias_by_type),
        Option(
            "Find more of a type (drug_n=+0.5) or less (drug=-0.5); /=+0.5 for shorter names. Repeatable.",
            "Decoding",
            decides=True,
            per_request=True,
            typed=list[str],
            metavar="TYPE=NUMBER",
            allowed="a finite number for each type, such as {'drug_n': 0.5}",
        ),
    ] = field(default_factory=dict)

    operating_point: Annotated[
        str | None,
        BeforeValidator(as_text),
        AfterValidator(known_method),
        Option(
            "Fit a bias for opening each type: auto (best F1) or precision=NUMBER on sentences of --examples "
            "that are neither shown nor annotated, content-free without any; or a file that calibrate wrote.",
            "Decoding",
        ),
    ] = None
    fit: Annotated[
        int, Field(ge=1), Option("Fit the operating point on N sentences.", "Decoding", metavar="N")
    ] = 60

    consistency: Annotated[
        bool | None,
        Option(
            "Give each name one type in a document, and mark it everywhere or nowhere. "
            "Default: on if the model reports confidence.",
            "Output",
            decides=True,
            per_request=True,
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        Field(ge=0, le=1),
        Option(
            "Drop mentions below this confidence. Default: 0.4 for calibrated models, else 0.",
            "Output",
            decides=True,
            per_request=True,
        ),
    ] = None
    strict: Annotated[
        bool,
        Option("Leave out mentions whose offsets are not exact.", "Output", decides=True, per_request=True),
    ] = False

    def changed(self, **options: Any) -> Settings:
        """These settings with other values for some fields. Raises UnknownOptionError."""
        for name in (name for name in options if name not in options_by_name()):
            near = get_close_matches(name, options_by_name(), n=2)
            advice = f"did you mean {' or '.join(near)}?" if near else "see the fields of Settings"
            raise UnknownOptionError(f"{name}: no such option; {advice}")
        return replace(self, **options)

    def __post_init__(self) -> None:
        for name, adapter in _adapters().items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, adapter.validate_python(value))
            except ValidationError as error:
                allowed = options_by_name()[name].allowed
                message = f"must be {allowed}, got {value!r:.80}" if allowed else why(error.errors()[0])
                raise UserError(f"{name}: {message}") from None
        if self.engine != "native":
            self._check_engine()
        if self.operating_point and self.bias:
            raise UserError("--operating-point sets the bias; it cannot be combined with --bias")
        if self.occurrences and self.answer == "tags":
            raise UserError("--occurrences needs --answer list: tags are put around each place anyway")

    def _check_engine(self) -> None:
        engine = f"--engine {self.engine}"
        if not self.constrained or self.decoder == "copy-draft":
            other = self.decoder if self.constrained else "--unconstrained"
            raise UserError(f"{engine} decodes stepwise; it cannot be combined with {other}")
        if self.rule == "canonical":
            raise UserError(f"{engine} has the rule any; it cannot be combined with canonical")
        if self.bias or self.operating_point:  # the states of other engines do not say which type a tag has
            raise UserError(f"{engine} takes no bias; use --engine native")
        if self.lexicon not in (None, "none"):
            raise UserError(f"{engine} takes no lexicon; use --engine native")

    def read_schema(self) -> Schema | None:
        """The entity types that were asked for; None for the adapter's, or DDI."""
        return Schema.load(self.schema) if isinstance(self.schema, Path) else self.schema

    def read_prompt(self) -> PromptFile | None:
        """The wording that was asked for; None for the adapter's, or that of the form of the answer."""
        return PromptFile.named(self.prompt) if isinstance(self.prompt, str) else self.prompt

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
