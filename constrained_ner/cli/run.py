"""Runs a function as a command: options in, one clear line out if something is wrong, no traceback."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TextIO, get_type_hints

import typer

from .. import __version__
from ..errors import UserError
from ..rendering.visible import visible_lines
from .usage import UsageError, complaint

_PACKAGE = Path(__file__).parents[1]
_TALKATIVE = ("accelerate", "bitsandbytes", "huggingface_hub", "kernels", "peft")
"""Loggers that speak while their packages are imported, before a back end can ask for quiet."""

RESUMES = "stopped; run the same command to resume"
RESUMES_IF_ASKED = "stopped; the same command with --resume continues from the last checkpoint"


def run(command: Callable[..., None], *, stopped: str = "stopped") -> None:
    """Run a function as a command line; its parameters are the options.

    stopped: what Ctrl-C prints.
    """

    @functools.wraps(command)
    def guarded(version: bool = False, **arguments: Any) -> None:
        _silence_libraries(also_notes=bool(arguments.get("quiet")))
        try:
            command(**arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # `... | head -1` has read enough
            _discard_the_rest()
            raise typer.Exit(141) from None
        except UserError as error:
            complain(str(error))
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
    _replace_what_the_output_lacks()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            sys.exit(app(standalone_mode=False) or 0)
        except UsageError as error:
            complain(complaint(error, parameters))
            sys.exit(2)
        except typer.Abort:  # Ctrl-C before the command began
            print("stopped", file=sys.stderr)
            sys.exit(130)


def note(message: str) -> None:
    """Print what was decided on the user's behalf."""
    print(f"note: {visible_lines(message)}", file=sys.stderr)


def complain(message: str) -> None:
    """Print what went wrong."""
    print(f"error: {visible_lines(message)}", file=sys.stderr)


def _replace_what_the_output_lacks() -> None:
    """Print a stand-in for a character that the terminal's or pipe's code page does not have."""
    for stream, how in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=how)


def _discard_the_rest() -> None:
    """Let Python flush what nobody reads, at its end, without a word."""
    with contextlib.suppress(OSError, ValueError):  # no real file, in a test or a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print what the package has to say as a note, and warnings of others as Python does."""
    if category is UserWarning and Path(filename).is_relative_to(_PACKAGE):
        note(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _silence_libraries(*, also_notes: bool) -> None:
    """Show only our own output: users of a command can do nothing about the warnings of libraries.

    also_notes: not even our own notes. Python's own -W and PYTHONWARNINGS bring the warnings back.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        if not also_notes:
            warnings.filterwarnings("default", category=UserWarning, module=_PACKAGE.name)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
]
