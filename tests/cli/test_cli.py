"""The commands as a user meets them: exit codes, one clear line, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_command
from tiny_models import byte_level_tokenizer, write_gguf

from constrained_ner.cli import annotate, evaluate

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample.xml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def run(command: str, *arguments: object) -> int:
    """Run a command in this process and return its exit code."""
    main = {"llm-NERC": annotate.main, "evaluate": evaluate.main}[command]
    if command == "llm-NERC":
        arguments += ("--context", 2048, "--threads", 1)  # threads would wait for other work
    return run_command(main, *arguments)


def test_annotate_then_evaluate(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("llm-NERC", SAMPLE, tmp_path / "out", "--model", model, "--limit", 5) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "mentions in 5 sentences" in said.err
    assert "forward passes and" in said.err
    assert "tokens a sentence" in said.err
    assert run("evaluate", SAMPLE, tmp_path / "out", "--json", tmp_path / "figures.json") == 0
    assert "m.avg(no class)" in capsys.readouterr().out
    assert "micro" in json.loads((tmp_path / "figures.json").read_text())


def test_quiet_says_nothing(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("llm-NERC", SAMPLE, tmp_path / "out", "--model", model, "--limit", 2, "--quiet") == 0
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_constrained_and_unconstrained_are_recorded(tmp_path: Path, model: Path) -> None:
    for option, decoder in (("--constrained", "copy-draft"), ("--unconstrained", "unconstrained")):
        out = tmp_path / decoder
        assert run("llm-NERC", SAMPLE, out, "--model", model, "--limit", 2, "--quiet", option) == 0
        record = json.loads((tmp_path / f"{decoder}.run.json").read_text())
        assert record["options"]["decoder"] == decoder
        assert all(len(record[f"{what}_hash"]) == 64 for what in ("model", "schema", "prompt"))


def test_a_schema_of_ones_own(tmp_path: Path, model: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"name": "s", "types": [{"name": "toxin"}]}))
    arguments = ("--model", model, "--limit", 3, "--quiet", "--schema", schema)
    assert run("llm-NERC", SAMPLE, tmp_path / "out", *arguments) == 0
    assert {line.rsplit("|", 1)[1] for line in (tmp_path / "out").read_text().splitlines()} <= {"toxin"}


LAUGHS = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><d><sentence id="s" text="&b;"/></d>'
EXTERNAL = (
    '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d><sentence id="s" text="x">&x;</sentence></d>'
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("not xml", "not XML"),
        ("<d><sentence", "not XML"),
        ("", "not XML"),
        (LAUGHS, "refused"),
        (EXTERNAL, "refused"),
        ("<dataset/>", "no <sentence> elements"),
        ('<d><sentence id="s1"/></d>', "sentence s1: no text"),
        ('<d><sentence text="x"/></d>', "has no id"),
        ('<d><sentence id="s1" text="x"/><sentence id="s1" text="y"/></d>', "duplicate sentence id 's1'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    source, out = tmp_path / "in.xml", tmp_path / "out"
    out.write_text("an older result\n")
    if content is not None:
        source.write_text(content)
    assert run("llm-NERC", source, out, "--model", model, "--overwrite") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {source}")
    assert message in error
    assert error.count("\n") == 1
    assert out.read_text() == "an older result\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"in.xml", "out"}


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        ('charOffset="1-9" type="t"', "offsets 1-9 run past the text (2 characters)"),
        ('charOffset="0-1"', "missing or unusable type (found None)"),
        ('charOffset="0 to 1" type="t"', "offsets '0 to 1' are not of the form"),
    ],
)
def test_gold_that_cannot_be_read_does_not_stop_a_run(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], entity: str, why: str
) -> None:
    source = tmp_path / "in.xml"
    source.write_text(f'<d><sentence id="s1" text="ab"><entity id="e0" {entity}/></sentence></d>')
    assert run("llm-NERC", source, tmp_path / "out", "--model", model) == 0
    note = capsys.readouterr().err.splitlines()[0]
    assert note.startswith(
        f"note: {source}: 1 of 1 entities cannot be read and are left out: sentence s1: entity e0"
    )
    assert why in note


def truncated(model: Path) -> bytes:
    return model.read_bytes()[: model.stat().st_size * 2 // 3]


@pytest.mark.parametrize("content", ["missing", "text", "magic alone", "truncated", "empty"])
def test_a_model_that_is_none_is_one_line_and_exit_code_2(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "bad.gguf"
    if content != "missing":
        contents = {"text": b"no model", "magic alone": b"GGUF", "truncated": truncated(model), "empty": b""}
        path.write_bytes(contents[content])
    assert run("llm-NERC", SAMPLE, tmp_path / "out", "--model", path) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "bad.gguf" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_prompt_that_fills_the_context_is_one_line_and_exit_code_2(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = tmp_path / "prompt.json"
    prompt.write_text(json.dumps({"sysprompt": ["word " * 3000], "usrprompt": ["{sentence}"]}))
    assert run("llm-NERC", SAMPLE, tmp_path / "out", "--model", model, "--prompt", prompt) == 2
    assert "leave no room for a sentence" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_2(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path, tmp_path / "none" / "out"):
        assert run("llm-NERC", SAMPLE, out, "--model", model) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {out}")
        assert error.count("\n") == 1


def test_bad_predictions_are_named_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = tmp_path / "out"
    predicted.write_text("s|0-3|abcd|drug\nnonsense\n")
    assert run("evaluate", SAMPLE, predicted) == 2
    assert capsys.readouterr().err.startswith(f"error: {predicted}: line 2")


@pytest.mark.parametrize("option", [("--decoder", "magic"), ("--limit", "0"), ("--nonsense",)])
def test_wrong_options_are_exit_code_2(tmp_path: Path, option: tuple[str, ...]) -> None:
    assert run("llm-NERC", SAMPLE, tmp_path / "out", *option) == 2


def test_workers_write_the_same_file(tmp_path: Path, model: Path) -> None:
    source = tmp_path / "in.xml"
    sentences = "".join(f'<sentence id="s{n}" text="Effect of aspirin on {n} men."/>' for n in range(70))
    source.write_text(f"<document>{sentences}</document>")
    for name, workers in (("one", "1"), ("two", "2")):
        arguments = ("--model", model, "--workers", workers, "--quiet")
        assert run("llm-NERC", source, tmp_path / name, *arguments) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != b""
    records = [json.loads((tmp_path / f"{name}.run.json").read_text()) for name in ("one", "two")]
    assert [len(record["peak_memory_mb"]) for record in records] == [1, 2]
    assert records[0]["fingerprint"] == records[1]["fingerprint"]


@pytest.mark.parametrize(
    ("workers", "model_name", "message"),
    [
        ("0", None, "--workers: '0' is neither auto nor a number from 1 to 256"),
        ("many", None, "--workers: 'many' is neither auto nor a number from 1 to 256"),
        ("2", "openai:m", "--workers 2: openai:m is on a server; use --batch for more requests at once"),
        ("2", "none.gguf", "none.gguf: no such model file"),
    ],
)
def test_workers_that_cannot_be_are_one_line_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: str, model_name: str | None, message: str
) -> None:
    model_option = ("--model", model_name) if model_name else ()
    assert run("llm-NERC", SAMPLE, tmp_path / "out", "--workers", workers, *model_option) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[-1] == f"error: {message}"
    assert len(said) == 1 or said[0].startswith("loading ")  # on a slow machine


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_leaves_a_journal_and_the_same_command_resumes(tmp_path: Path, model: Path) -> None:
    source = tmp_path / "in.xml"
    sentences = "".join(f'<sentence id="s{n}" text="Effect of aspirin on {n} men."/>' for n in range(3000))
    source.write_text(f"<document>{sentences}</document>")
    command = [sys.executable, str(ROOT / "bin" / "llm-NERC"), str(source), str(tmp_path / "out")]
    command += ["--model", str(model), "--context", "2048", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    journal = tmp_path / "out.journal"
    deadline_s = time.monotonic() + 60
    while (not journal.exists() or journal.stat().st_size < 5000) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "run the same command to resume" in error
    assert not (tmp_path / "out").exists()
    assert journal.stat().st_size >= 5000


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, constrained_ner; "
        "print(sorted({'torch', 'transformers', 'llama_cpp', 'outlines', 'peft', 'gguf'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_public_names() -> None:
    import constrained_ner

    assert constrained_ner.__all__ == [
        "DDI",
        "Annotator",
        "ConstrainedNerError",
        "Document",
        "EntityType",
        "Mention",
        "Schema",
        "Sentence",
        "SentenceError",
        "Settings",
        "Span",
        "UserError",
        "__version__",
        "annotate",
        "annotate_document",
        "annotate_many",
    ]


def test_a_command_prints_its_own_output_alone(tmp_path: Path) -> None:
    """Warnings and log lines of libraries do not reach a user, unless Python is told to show them."""
    script = (
        "import logging, warnings\n"
        "from constrained_ner.cli.run import CommandLine\n"
        "def command() -> None:\n"
        "    warnings.warn('a library was deprecated', FutureWarning)\n"
        "    logging.getLogger('bitsandbytes.backends').warning('Failed to load gemm_4bit_forward')\n"
        "    print('done')\n"
        "CommandLine(command)()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("PYTHONWARNINGS", None)

    def output(*options: str) -> str:
        process = subprocess.run(
            [sys.executable, *options, "-c", script], env=environment, capture_output=True, text=True
        )
        return process.stdout + process.stderr

    assert output() == "done\n"
    assert "a library was deprecated" in output("-W", "default")
