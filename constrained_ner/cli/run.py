"""Runs a function as a command: options in, one clear line out if something is wrong, no traceback."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import UserError

RESUMES = "stopped; run the same command to resume"
RESUMES_IF_ASKED = "stopped; the same command with --resume continues from the last checkpoint"


def run(command: Callable[..., None], *, stopped: str = "stopped") -> None:
    """Run a function as a command line; its parameters are the options.

    stopped: what Ctrl-C prints.
    """

    @functools.wraps(command)
    def guarded(version: bool = False, **arguments: Any) -> None:
        try:
            command(**arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from None

    hints = get_type_hints(command, include_extras=True)
    parameters = [
        *(p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()),
        inspect.Parameter("version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Version),
    ]
    guarded.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    guarded.__annotations__ = {p.name: p.annotation for p in parameters}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.command()(guarded)
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("constrained-ner"))
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
]
