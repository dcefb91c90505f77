"""Where every command starts. Imports nothing, so that Ctrl-C is answered while the command is imported."""

from __future__ import annotations

import sys


def _start(command: str) -> None:
    try:
        from importlib import import_module

        import_module(f".{command}", __package__).main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def ablate() -> None:
    _start("ablate")


def annotate() -> None:
    _start("annotate")


def calibrate() -> None:
    _start("calibrate")


def convert() -> None:
    _start("convert")


def evaluate() -> None:
    _start("evaluate")


def export_gguf() -> None:
    _start("export_gguf")


def finetune() -> None:
    _start("finetune")


def report() -> None:
    _start("report")


def serve() -> None:
    _start("serve")


def train_bundled() -> None:
    _start("train_bundled")


def view() -> None:
    _start("view")
