"""What the documentation shows is what the commands print: cog calls the functions of this module.

    python docs/console.py [PAGE...]     # write the outputs in README.md and docs/, or in some pages, again
    python docs/console.py --check       # say which are out of date

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

from cogapp import Cog

from constrained_ner.annotation.settings import Settings, options_by_name

__all__ = ["options", "show", "source"]

ROOT = Path(__file__).resolve().parents[1]
_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)
for _entry in ("examples", "prompts"):
    Path(_FOLDER.name, _entry).symlink_to(ROOT / _entry)

_ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(ROOT / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "100",
    "NO_COLOR": "1",
}


def show(*commands: str) -> None:
    """Print the commands and what each of them prints. What installs the package is left to .ci/run."""
    print("```console")
    for command in commands:
        print(f"$ {command}")
        print(_output(["bash", "-c", command.removeprefix("pip install . && ")], command), end="")
    print("```")


def source(path: str) -> None:
    """Print a Python program and, below it, what it prints."""
    print(f"```python\n{(ROOT / path).read_text(encoding='utf-8').rstrip()}\n```\n")
    print(f"```text\n{_output([sys.executable, path], path).rstrip()}\n```")


def options() -> None:
    """Print a table of the options of annotation."""
    print("| option | default | what it does |\n|---|---|---|")
    defaults = Settings()
    for name, option in options_by_name().items():
        default = getattr(defaults, name)
        if isinstance(default, bool):
            default = "on" if default else "off"
        shown = f"`{default}`" if default else ""
        print(f"| `--{name.replace('_', '-')}` | {shown} | {option.help.replace('|', chr(92) + '|')} |")


def _output(arguments: list[str], called: str) -> str:
    process = subprocess.run(
        arguments, cwd=_FOLDER.name, env=_ENVIRONMENT, capture_output=True, text=True, encoding="utf-8"
    )
    if process.returncode:
        raise SystemExit(f"{called}: exit code {process.returncode}\n{process.stderr}")
    return process.stdout


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")]
    pages = chosen or [str(page) for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    how = ["--check", "--diff"] if "--check" in sys.argv else ["-r"]
    prologue = ["-P", "-I", str(ROOT / "docs"), "-p", "from console import *"]
    sys.exit(Cog().main(["cog", "--verbosity=1", *prologue, *how, *pages]))
