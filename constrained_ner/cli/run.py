"""Runs a function as a command: options in, one clear line out if something is wrong, no traceback."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Annotated, Any, get_type_hints

import typer

from ..errors import UserError

_TALKATIVE = ("accelerate", "bitsandbytes", "huggingface_hub", "kernels", "peft")
"""Loggers that speak while their packages are imported, before a back end can ask for quiet."""

RESUMES = "stopped; the same command resumes here"
RESUMES_IF_ASKED = "stopped; the same command with --resume continues from the last checkpoint"


def run(command: Callable[..., None], *, stopped: str = "stopped", examples: Sequence[str] = ()) -> None:
    """Run a function as a command line; its parameters are the options.

    stopped: what Ctrl-C prints. examples: command lines for the end of the help text.
    """

    @functools.wraps(command)
    def guarded(version: bool = False, **arguments: Any) -> None:
        _silence_libraries()
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
    epilog = "Examples:\n\n" + "\n\n".join(examples) if examples else None
    app.command(epilog=epilog)(guarded)
    app()


def _silence_libraries() -> None:
    """Show our own output alone: what libraries warn of, users of a command can do nothing about.

    Python's own -W and PYTHONWARNINGS bring the warnings back.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("constrained-ner"))
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
]
