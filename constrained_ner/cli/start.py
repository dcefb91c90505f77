"""Where every command starts, and the table of them.

Imports nothing but the command that was asked for, so that the list appears at once and Ctrl-C is answered
while a command is imported. To add a command: a module in this package with `main`, a line in the table, a
file in `bin/` and a line under `[project.scripts]`.
"""

from __future__ import annotations

import os
import sys

COMMANDS: dict[str, Command] = {}
"""What is typed after `constrained-ner` -> the command, in the order of the list."""

_NEXT = """\
Find and classify names in text.

Try this first:
  echo "Ketoconazole raises midazolam levels." | constrained-ner annotate -
  constrained-ner annotate leaflet.txt leaflet.jsonl
"""
_OPTIONS = """\
Options:
  --install-completion  Let the shell complete commands and options.
  --show-completion     Print what does that.
  --version             Print the version.
  --help                Print this list. For a command: constrained-ner COMMAND --help
"""


class Command:
    """A command of the package. Calling it runs it on the command line."""

    def __init__(self, name: str, summary: str) -> None:
        self.module = f"{__package__}.{name.replace('-', '_')}"
        self.summary = summary
        COMMANDS[name] = self

    def __call__(self) -> None:
        _run(self.module)


annotate = Command("annotate", "Find and classify the names in texts.")
view = Command("view", "Look at results on a page.")
serve = Command("serve", "Answer over HTTP, with a page to play in.")
evaluate = Command("evaluate", "Score results against gold.")
convert = Command("convert", "Write annotated texts in another format.")
calibrate = Command("calibrate", "Make a model's confidences true.")
ablate = Command("ablate", "Run a grid: change one option at a time.")
report = Command("report", "Compare finished runs on a page.")
finetune = Command("finetune", "Train an adapter on annotated texts.")
export_gguf = Command("export-gguf", "Write a model or an adapter as a GGUF file.")
train_bundled = Command("train-bundled", "Train the bundled model from scratch.")


def main() -> None:
    """Run `constrained-ner COMMAND ...`; without a command, say what to type next."""
    name, *rest = sys.argv[1:] or [""]
    if "_CONSTRAINED_NER_COMPLETE" in os.environ or name in ("--install-completion", "--show-completion"):
        _run(f"{__package__}.completion")
    elif name in COMMANDS:
        sys.argv = [f"{os.path.basename(sys.argv[0])} {name}", *rest]
        COMMANDS[name]()
    elif name in ("", "--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        lines = "".join(f"  {name:{width}}  {command.summary}\n" for name, command in COMMANDS.items())
        print(f"{_NEXT}\nCommands:\n{lines}\n{_OPTIONS}", end="")
    elif name == "--version":
        from .. import __version__

        print(__version__)
    else:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, n=1)
        advice = f"did you mean {near[0]}?" if near else "constrained-ner --help lists them"
        print(f"error: {ascii(name)[:80]}: no such command; {advice}", file=sys.stderr)
        sys.exit(2)


def _run(module: str) -> None:
    try:
        from importlib import import_module

        import_module(module).main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
