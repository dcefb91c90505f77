"""Runs a command: what is the user's to mend is said in one line, without a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from ..errors import UserError

GOES_ON = "stopped; the same command goes on from here"
GOES_ON_IF_ASKED = "stopped; the same command with --resume goes on from the last checkpoint"


def run(command: Callable[..., None], *, stopped: str = "stopped") -> None:
    """Run a function as a command line; its parameters are the options. stopped: what Ctrl-C has it say."""

    @functools.wraps(command)
    def guarded(**arguments: Any) -> None:
        try:
            command(**arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded)
    app()
