"""The one door: `constrained-ner` lists the commands, runs them, and lets the shell complete them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from constrained_ner.cli import start
from constrained_ner.cli.run import CommandLine
from constrained_ner.cli.start import COMMANDS

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "bin" / "constrained-ner"


def door(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, DOOR, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_it_lists_them_and_says_what_to_type(arguments: list[str]) -> None:
    shown = door(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "constrained-ner annotate -\n" in shown.stdout
    listed = re.findall(r"^  ([a-z-]+)  +[A-Z]", shown.stdout.partition("Options:")[0], re.MULTILINE)
    assert listed == list(COMMANDS)


def test_the_list_imports_no_package_but_ours() -> None:
    script = (
        "import sys\n"
        "known = set(sys.modules)\n"
        "from constrained_ner.cli.start import main\n"
        "main()\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - known}\n"
        "print(sorted(new - sys.stdlib_module_names))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.stdout.splitlines()[-1] == "['constrained_ner']"


def test_it_runs_a_command_under_its_own_name(tmp_path: Path) -> None:
    assert "Usage: constrained-ner convert" in door("convert", "--help").stdout
    out = tmp_path / "sample.jsonl"
    assert door("convert", str(ROOT / "examples" / "sample.xml"), str(out)).returncode == 0
    assert out.exists()
    missing = door("convert", str(tmp_path / "none.xml"), str(tmp_path / "o.jsonl"))
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("anotate", "error: 'anotate': no such command; did you mean annotate?\n"),
        ("--zzz", "error: '--zzz': no such command; constrained-ner --help lists them\n"),
        ("\x1b[31m", "error: '\\x1b[31m': no such command; constrained-ner --help lists them\n"),
    ],
)
def test_an_unknown_command_is_one_line(
    typed: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["constrained-ner", typed])
    with pytest.raises(SystemExit, match="2"):
        start.main()
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("constrained-ner ", list(COMMANDS)),
        ("constrained-ner exp", ["export-gguf"]),
        ("constrained-ner evaluate --in", ["--intervals"]),
        ("constrained-ner annotate --device c", ["cpu", "cuda"]),
    ],
)
def test_the_shell_completes_commands_options_and_values(typed: str, completions: list[str]) -> None:
    last = str(len(typed.split(" ")) - 1)
    shown = door(_CONSTRAINED_NER_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=last)
    assert shown.stdout.split() == completions


def test_it_prints_the_completion_script_of_a_shell() -> None:
    shown = door("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete -o default -F _constrained_ner_completion constrained-ner" in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_started_and_completed(name: str) -> None:
    assert isinstance(import_module(COMMANDS[name].module).main, CommandLine)
    assert COMMANDS[name] is getattr(start, name.replace("-", "_"))
    scripts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'constrained_ner.cli.start:{name.replace("-", "_")}"' in scripts
    launcher = ROOT / "bin" / {"annotate": "llm-NERC"}.get(name, name)
    assert os.access(launcher, os.X_OK)
