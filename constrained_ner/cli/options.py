"""Command-line options made from the fields of `Settings`, and those that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer
from annotated_types import Ge, Le

from ..annotation.settings import Settings, field_types, options_by_name
from ..errors import UserError
from ..formats.protocol import Reading
from ..runs.splits import Split
from .run import note

MOST_WORKERS = 256
NOTED = Reading(notify=note, report_damaged=note)
"""Reading that prints what had to be decided, and what could not be read, as notes."""

PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="plain, strict, guide, bare, or a prompt file.")
]
SchemaOption = Annotated[
    Path | None, typer.Option("--schema", help="Entity types (JSON or YAML). Default: DDI.")
]
QuantizeOption = Annotated[
    Literal["4bit", "8bit"] | None, typer.Option("--quantize", help="Load in low precision.")
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option("--device", help="Where to run.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Use an adapter with what it was not trained for.")
]
TrustRemoteCodeOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a model from the hub run its own code.")
]
SplitOption = Annotated[
    Split | None,
    typer.Option(
        "--split", help="Which split INPUT is, if its content does not tell.", rich_help_panel="Run"
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Annotate only the first N sentences.", rich_help_panel="Run"),
]
WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="N|auto",
        help="Processes that annotate, each with the model in its memory. auto: one for each processor that "
        "may be used.",
        rich_help_panel="Run",
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="auto|ADDRESS",
        help="Annotate on a Ray cluster, into a folder of partitions (extra ray). auto: the cluster of this "
        "machine, or this machine alone.",
        rich_help_panel="Run",
    ),
]
CpusPerModelOption = Annotated[
    float,
    typer.Option(
        "--cpus-per-model",
        metavar="N",
        help="With --ray: processors for each copy of the model.",
        rich_help_panel="Run",
    ),
]
GpusPerModelOption = Annotated[
    float,
    typer.Option(
        "--gpus-per-model",
        metavar="N",
        help="With --ray: GPUs for each copy; 0.5 lets two share one.",
        rich_help_panel="Run",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="Format of INPUT, if its name and content do not tell: text, jsonl, csv, ddi, brat, bioc, ...",
        rich_help_panel="Files",
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="Format of OUTPUT: lines, jsonl, inline, brat, ... Default: what its name says, or lines.",
        rich_help_panel="Files",
    ),
]
TextFieldOption = Annotated[
    str | None,
    typer.Option("--text-field", help="Field of a record with the text.", rich_help_panel="Files"),
]
IdFieldOption = Annotated[
    str | None,
    typer.Option("--id-field", help="Field of a record with its id.", rich_help_panel="Files"),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="Columns of a file of tokens, such as token,_,tag. Default: detected.",
        rich_help_panel="Files",
    ),
]
TypesOption = Annotated[
    str | None,
    typer.Option(
        "--types",
        metavar="THEIRS=OURS,...",
        help="What annotated files call the entity types, such as Chemical=drug. Others are left out.",
        rich_help_panel="Files",
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option("--skip-bad", help="Skip files of a folder that cannot be read.", rich_help_panel="Run"),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Run again what has finished, and replace other files.", rich_help_panel="Run"
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel="Run")
]


def asked_types(
    text: str | None, option: str = "--types", example: str = "Chemical=drug,Brand=brand"
) -> dict[str, str] | None:
    """The value of --types, or of another option of this form. Raises UserError."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    for theirs, equals, ours in pairs:
        if not (theirs.strip() and equals and ours.strip()):
            raise UserError(f"{option}: {text!r:.80} is not of the form {example}")
    return {theirs.strip(): ours.strip() for theirs, _, ours in pairs}


def asked_reading(
    text_field: str | None = None, id_field: str | None = None, columns: str | None = None
) -> Reading:
    """How to read an input, as the options say; what there is to tell becomes a note."""
    names = None if columns is None else tuple(name.strip() for name in columns.split(","))
    return replace(NOTED, text_field=text_field, id_field=id_field, columns=names)


def asked_workers(text: str) -> int | Literal["auto"]:
    """The value of --workers. Raises UserError."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise UserError(f"--workers: {text!r:.80} is neither auto nor a number from 1 to {MOST_WORKERS}")
    return int(text)


def takes_settings(*, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `settings: Settings` by an option for each field.

    without: fields that the command sets itself.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**arguments: Any) -> None:
            chosen = {p.name: arguments.pop(p.name) for p in options}
            given = {name: value for name, value in chosen.items() if value is not None}
            command(settings=Settings(**given), **arguments)

        options = [p for p in _parameters() if p.name not in without]
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command).parameters.items()
            if name != "settings"
        ]
        at = list(inspect.signature(command).parameters).index("settings")
        parameters = [*own[:at], *options, *own[at:]]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_options

    return decorate


def _parameters() -> Iterator[inspect.Parameter]:
    """A command-line option for each field of `Settings`."""
    options = options_by_name()
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(Settings)}
    for name, annotated in field_types().items():
        option = options[name]
        kind, *metadata = get_args(annotated)
        bounds = [bound for part in metadata for bound in getattr(part, "metadata", ())]
        default = defaults[name]
        if option.typed is not None:
            kind = option.typed | None
        declared = typer.Option(
            _spelled(name, kind, default, option.off),
            help=option.help,
            rich_help_panel=option.panel,
            metavar=option.metavar,
            min=next((_number(bound.ge) for bound in bounds if isinstance(bound, Ge)), None),
            max=next((_number(bound.le) for bound in bounds if isinstance(bound, Le)), None),
            show_default=default is not None and kind is not bool,
        )
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
        )


def _spelled(name: str, kind: Any, default: Any, off: str | None) -> str:
    """The option's name; a switch that may be on by default has one that turns it off, too.

    Example: "min_confidence" -> --min-confidence; "merge" -> --merge/--no-merge
    """
    option = name.replace("_", "-")
    is_switch = kind is bool or set(get_args(kind)) == {bool, NoneType}
    if is_switch and default is not False:
        return f"--{option}/{off or f'--no-{option}'}"
    return f"--{option}"


def _number(bound: Any) -> float:
    """A bound as typer takes it; whole numbers stay whole."""
    number: float = bound
    return number
