"""Texts from a pipe, results into one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from constrained_ner import Annotator

ROOT = Path(__file__).parents[2]
TEXT = "Ketoconazole raises midazolam levels.\n\nNothing else does."


def llm_nerc(*arguments: object, text: str | bytes = TEXT) -> subprocess.CompletedProcess[bytes]:
    content = text.encode() if isinstance(text, str) else text
    command = [sys.executable, str(ROOT / "bin" / "llm-NERC"), *map(str, arguments)]
    return subprocess.run(command, input=content, capture_output=True, check=False, timeout=300, cwd=ROOT)


def test_a_text_comes_back_as_one_line_of_json_with_exact_offsets() -> None:
    done = llm_nerc("-")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.decode().splitlines()
    document = json.loads(line)
    assert (document["id"], document["text"]) == ("stdin", TEXT)
    found = [(TEXT[m["start"] : m["end"]], m["text"], m["type"]) for m in document["mentions"]]
    assert found == [("Ketoconazole", "Ketoconazole", "drug"), ("midazolam", "midazolam", "drug")]
    assert all(0 < m["confidence"] <= 1 and m["provenance"] == "constrained" for m in document["mentions"])


def test_records_come_back_in_order_and_a_broken_one_is_named() -> None:
    lines = [json.dumps({"id": f"r{n}", "text": f"Aspirin {n}."}) for n in range(3)]
    done = llm_nerc("-", text="\n".join([*lines[:2], "{", lines[2]]))
    assert done.returncode == 1
    assert [json.loads(line)["id"] for line in done.stdout.decode().splitlines()] == ["r0", "r1", "r2"]
    assert "error: standard input: line 3: not JSON" in done.stderr.decode()


def test_a_pipe_gives_what_a_file_gives(tmp_path: Path) -> None:
    (tmp_path / "stdin.txt").write_text(TEXT)
    assert llm_nerc(tmp_path / "stdin.txt", tmp_path / "out.jsonl", text="").returncode == 0
    for arguments in (["-"], ["-", "-"], [tmp_path / "stdin.txt"], ["-", "--workers", "2"]):
        assert llm_nerc(*arguments).stdout == (tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "error: standard input: "),
        (b"   \n", "error: standard input: no text in it"),
        (b"caf\xe9", "error: standard input: line 1: byte 3 (0xe9) is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: bytes, message: str) -> None:
    done = llm_nerc("-", text=text)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(message)
    assert len(done.stderr.decode().splitlines()) == 1
    assert not done.stdout


def test_a_reader_that_has_enough_ends_the_run_without_a_word() -> None:
    lines = "".join(json.dumps({"id": str(n), "text": f"Aspirin {n}."}) + "\n" for n in range(3000))
    command = f"{sys.executable} {ROOT / 'bin' / 'llm-NERC'} - -q | head -1"
    done = subprocess.run(
        command, shell=True, input=lines.encode(), capture_output=True, check=False, timeout=300, cwd=ROOT
    )
    assert json.loads(done.stdout)["id"] == "0"
    assert not done.stderr


def test_the_library_finds_the_same() -> None:
    with Annotator.load() as ner:
        mentions = ner.annotate("Ketoconazole raises midazolam levels.").mentions
    [line] = llm_nerc("-", text="Ketoconazole raises midazolam levels.").stdout.decode().splitlines()
    assert [m["start"] for m in json.loads(line)["mentions"]] == [m.start for m in mentions]


def test_results_keep_their_characters_whatever_the_code_page() -> None:
    text = "Ketoconazole\u00a0raises midazolam \U0001f48a."
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, str(ROOT / "bin" / "llm-NERC"), "-"]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, check=False, cwd=ROOT, env=environment
    )
    assert json.loads(done.stdout)["text"] == text


def test_a_pipe_is_converted(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bin" / "convert"), "-", str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text())["text"] == TEXT
