"""What the documentation shows is what the commands print: cog calls `show`, `source` and `note_absent` here.

    cog -P -p "import sys; sys.path.insert(0, 'docs'); from console import show, source" -r README.md docs/*.md

Commands run as they are written, in a folder of their own that looks like a checkout. Only standard output is
shown: times and progress go to standard error.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cog

ROOT = Path(__file__).resolve().parents[1]
_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)
for _entry in ROOT.iterdir():
    Path(_FOLDER.name, _entry.name).symlink_to(_entry)

_ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(ROOT / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "100",
    "NO_COLOR": "1",
}


def show(*commands: str) -> None:
    """Print the commands and what each of them prints."""
    cog.outl("```console")
    for command in commands:
        cog.outl(f"$ {command}")
        cog.out(_output(["bash", "-c", command], command))
    cog.outl("```")


def source(path: str) -> None:
    """Print a Python program and, below it, what it prints."""
    cog.outl(f"```python\n{(ROOT / path).read_text(encoding='utf-8').rstrip()}\n```\n")
    cog.outl(f"```text\n{_output([sys.executable, path], path).rstrip()}\n```")


def _output(arguments: list[str], called: str) -> str:
    process = subprocess.run(
        arguments, cwd=_FOLDER.name, env=_ENVIRONMENT, capture_output=True, text=True, encoding="utf-8"
    )
    if process.returncode:
        raise SystemExit(f"{called}: exit code {process.returncode}\n{process.stderr}")
    return process.stdout
