"""Runs a command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_command(main: Callable[[], None], *arguments: object) -> int:
    """Call the entry point of a command with these arguments and return its exit code."""
    before, sys.argv = sys.argv, [main.__module__.rpartition(".")[2], *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
