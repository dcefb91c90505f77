"""README and docs: every command can be typed as it is written, and what is shown is run or says why not.

That outputs are up to date is checked by `python docs/console.py --check`, and the links between the pages of
the site by `mkdocs build --strict`; both are steps of .ci/run.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from constrained_ner.cli.start import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LAUNCHERS = {"llm-NERC": "annotate", "bin/llm-NERC": "annotate", **{f"bin/{name}": name for name in COMMANDS}}
NEEDS = {"corpus", "models", "server", "torch"}


def typed(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of each of our commands that the page shows after a `$`."""
    for line in re.findall(r"^ *\$ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("|&;<>"):
                yield from _ours(command)
                command = []
            else:
                command.append(word)


def _ours(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    if words[:1] == ["constrained-ner"] and len(words) > 1 and not words[1].startswith("-"):
        yield words[1], words[2:]
    elif words and words[0] in LAUNCHERS:
        yield LAUNCHERS[words[0]], words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_can_be_typed(page: Path) -> None:
    for name, arguments in typed(page):
        assert name in COMMANDS, f"{page.name}: constrained-ner {name}"
        command_line(name).make_context(name, list(arguments))  # raises what is wrong with an option


@cache
def command_line(name: str) -> Any:
    return typer.main.get_command(import_module(COMMANDS[name].module).main.app())


def test_the_pages_show_commands() -> None:
    assert {name for page in PAGES for name, _ in typed(page)} >= {
        "annotate",
        "evaluate",
        "finetune",
        "ablate",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_shown_is_run_or_says_what_it_needs(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line == "```console" and "[[[cog" not in before:
            needs = re.fullmatch(r"<!-- needs: ([a-z, ]+) -->", before)
            assert needs, f"{page.name}: {before!r} before a console block"
            assert set(needs[1].split(", ")) <= NEEDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_sessions_print_what_they_show(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


@pytest.mark.parametrize("page", [*ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)[^):\s]*\)", page.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short_and_has_two_commands_that_set_up() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("\n") <= 130
    set_up = re.findall(r"^ *\$ (pip install [^`\n]*&& .*)$", readme, re.MULTILINE)
    assert [line.split(" && ")[0] for line in set_up] == ["pip install .", "pip install torch==2.13.0"]
