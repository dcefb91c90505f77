"""Shell completion of `constrained-ner`, by typer: commands from the table, options from the commands."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from .start import COMMANDS


class _Door(TyperGroup):
    """A group whose commands are stand-ins until one of them is typed: only that one is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or stand_in is None:
            return name, stand_in, rest
        return name, typer.main.get_command(import_module(COMMANDS[name].module).main.app()), rest


def main() -> None:
    """Complete what was typed, or install or print what makes the shell ask for it."""
    app = typer.Typer(cls=_Door)
    app.callback()(lambda: None)
    for name, command in COMMANDS.items():
        app.command(name, help=command.summary)(lambda: None)
    app(prog_name="constrained-ner")
