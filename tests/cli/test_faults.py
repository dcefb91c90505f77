"""What users trip over, by kind: one clear line and the right exit code, whatever the surroundings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_command
from tiny_models import byte_level_tokenizer, write_gguf

from constrained_ner.backends.temperature import store_temperature
from constrained_ner.cli import annotate, calibrate, evaluate

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample.xml"
GOLD = """<document id="d1">
<sentence id="d1.s0" text="α-tocopherol and β-blockers may raise digoxin → toxicity.">
<entity id="e0" charOffset="0-11" type="drug" text="α-tocopherol"/>
<entity id="e1" charOffset="17-26" type="group" text="β-blockers"/>
</sentence></document>"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def llm_nerc(model: Path, *arguments: object) -> int:
    alone = ("--no-consistency", "--min-confidence", 0)
    return run_command(annotate.main, *arguments, "--model", model, "--context", 2048, "--threads", 1, *alone)


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "bin" / name), *map(str, arguments)]


def environment(**changed: str | None) -> dict[str, str]:
    both = {**os.environ, "PYTHONPATH": str(ROOT), **changed}
    return {name: value for name, value in both.items() if value is not None}


def gold_and_predictions(folder: Path, lines: str) -> tuple[Path, Path]:
    (folder / "gold.xml").write_text(GOLD, encoding="utf-8")
    (folder / "predictions").write_text(lines, encoding="utf-8")
    return folder / "gold.xml", folder / "predictions"


# Where the output goes


@pytest.mark.parametrize("code_page", ["cp1252", "ascii"])
def test_what_the_code_page_of_a_pipe_lacks_is_replaced(tmp_path: Path, code_page: str) -> None:
    files = gold_and_predictions(tmp_path, "d1.s0|0-11|α-tocopherol|group\n")
    done = subprocess.run(
        command("evaluate", *files, "--errors"),
        env=environment(PYTHONIOENCODING=code_page),
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?-tocopherol" in done.stdout


def test_help_in_a_locale_without_unicode() -> None:
    without = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name in ("llm-NERC", "evaluate", "ablate"):
        done = subprocess.run(command(name, "--help"), env=environment(**without), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"--help" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    files = gold_and_predictions(tmp_path, "d1.s0|0-11|α-tocopherol|drug\n")
    arguments = (*files, "--errors", "--json", tmp_path / "figures.json")
    process = subprocess.Popen(
        command("evaluate", *arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141
    assert json.loads((tmp_path / "figures.json").read_text())["micro"]["tp"] == 1


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_figures_over_what_is_scored_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    gold, predictions = gold_and_predictions(tmp_path, "d1.s0|0-11|α-tocopherol|drug\n")
    (tmp_path / "figure.png").symlink_to(gold)
    target = {"--json": predictions, "--plot": tmp_path / "figure.png"}[option]
    assert run_command(evaluate.main, gold, predictions, "--curve", option, target) == 2
    assert capsys.readouterr().err.count("it would be overwritten\n") == 1
    assert gold.read_text(encoding="utf-8") == GOLD


def test_results_go_to_standard_output_and_leave_no_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llm_nerc(model, SAMPLE, "-") == 0
    assert len(capsys.readouterr().out.splitlines()) == 42  # a line of JSON for each sentence
    assert not list(tmp_path.iterdir())


def test_a_figure_on_standard_output_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(evaluate.main, *gold_and_predictions(tmp_path, ""), "--json", "-") == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == ["error: -: results are not written to standard output; name a file"]


# Being stopped


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["llm-NERC", "evaluate"])
def test_ctrl_c_while_the_command_is_imported(tmp_path: Path, name: str) -> None:
    """The import of the command's module stops where typer would be imported, and waits there."""
    (tmp_path / "typer.py").write_text(
        "import pathlib, time\npathlib.Path(__file__).with_name('here').touch()\ntime.sleep(60)\n"
    )
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    process = subprocess.Popen(
        command(name, "a", "b"), env=environment(PYTHONPATH=path), stderr=subprocess.PIPE, text=True
    )
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "here").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "stopped\n")


# Runs and what is made of them


def test_a_limited_run_is_evaluated_on_what_it_covers(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    assert llm_nerc(model, SAMPLE, out, "--limit", 5, "-q") == 0
    assert run_command(evaluate.main, SAMPLE, out, "--json", figures) == 0
    said = capsys.readouterr()
    assert f"note: {out}: its run annotated the first 5 of " in said.err
    covered = json.loads(figures.read_text())
    assert run_command(evaluate.main, SAMPLE, out, "--limit", 5, "--json", figures) == 0
    assert json.loads(figures.read_text()) == covered
    assert llm_nerc(model, SAMPLE, tmp_path / "whole", "-q") == 0
    capsys.readouterr()
    assert run_command(evaluate.main, SAMPLE, tmp_path / "whole", "--against", out, "--json", figures) == 0
    assert "its run annotated the first 5" in capsys.readouterr().err
    assert json.loads(figures.read_text())["micro"] == covered["micro"]


def test_a_record_of_another_output_decides_nothing(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert llm_nerc(model, SAMPLE, out, "--limit", 5, "-q") == 0
    out.write_text(out.read_text() + "d9.s0|0-3|iron|drug\n")
    assert run_command(evaluate.main, SAMPLE, out) == 0
    assert "but its record belongs to another output; all of them are evaluated" in capsys.readouterr().err


def test_types_that_gold_does_not_know_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "d1.s0|0-11|α-tocopherol|GROUP\nd1.s0|17-26|β-blockers|GROUP\nd1.s0|38-44|digoxin|toxin\n"
    gold, predictions = gold_and_predictions(tmp_path, lines)
    assert run_command(evaluate.main, gold, predictions) == 0
    assert capsys.readouterr().err == (
        f"warning: {predictions}: types that {gold} does not have: GROUP (2, in gold: group), toxin (1)\n"
    )


def test_predictions_without_a_mention_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold, predictions = gold_and_predictions(tmp_path, "\n")
    assert run_command(evaluate.main, gold, predictions) == 0
    assert capsys.readouterr().err == (
        f"warning: {predictions}: has no mention, so every one counts as missed\n"
    )


def test_the_same_command_again_says_that_it_is_done(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert llm_nerc(model, SAMPLE, out, "--limit", 3, "-q") == 0
    written = out.stat().st_mtime_ns
    capsys.readouterr()
    assert llm_nerc(model, SAMPLE, out, "--limit", 3) == 0
    assert capsys.readouterr().err.endswith("mentions in 3 sentences; this run has finished before\n")
    assert out.stat().st_mtime_ns == written
    assert llm_nerc(model, SAMPLE, out, "--limit", 4) == 2
    assert "holds the result of another run" in capsys.readouterr().err
    assert llm_nerc(model, SAMPLE, out, "--limit", 4, "--overwrite") == 0


def test_damaged_files_are_named_and_skipped_only_if_asked(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "good.xml")
    for name, content in (("cut.xml", "<document><sent"), ("empty.xml", "")):
        (folder / name).write_text(content)
    assert llm_nerc(model, folder, out, "--limit", 2) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder}: 2 of 3 files cannot be read:\n  {folder / 'cut.xml'}: not XML")
    assert error.endswith("pass --skip-bad to go on with the others\n")
    assert llm_nerc(model, folder, out, "--limit", 2, "--skip-bad") == 1
    assert capsys.readouterr().err.count("skipped ") == 2
    assert run_command(evaluate.main, folder, out) == 0
    assert "skipped as in the run" in capsys.readouterr().err


def test_a_temperature_is_stored_only_with_the_model_that_it_was_fitted_to(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = shutil.copy(model, tmp_path / "own.gguf"), shutil.copy(model, tmp_path / "other.gguf")
    store_temperature(other, 3.0)  # makes it another file, and keeps the hash of what it was
    store_temperature(own, 2.0)
    out = tmp_path / "out"
    assert llm_nerc(own, SAMPLE, out, "-q") == 0
    # The output itself, in part, as gold: some is right then, and some is not.
    before = other.read_bytes()
    gold = tmp_path / "gold.xml"
    gold.write_text(gold_of(out))
    assert run_command(calibrate.main, gold, out, "--store", other) == 2
    assert f"error: {other}: is not the model that made {out} (own.gguf, hash " in capsys.readouterr().err
    assert other.read_bytes() == before
    for _ in range(2):  # the second time, the file has changed by the first
        assert run_command(calibrate.main, gold, out, "--store", own) == 0
    assert run_command(calibrate.main, gold, out, "--store", other, "--force") == 0


def gold_of(out: Path) -> str:
    """The sample with every second mention of an output as its entities."""
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.parse(SAMPLE)
    for sentence in tree.iter("sentence"):
        for entity in list(sentence):
            sentence.remove(entity)
    sentences = {sentence.get("id"): sentence for sentence in tree.iter("sentence")}
    for line in out.read_text().splitlines()[::2]:
        sentence_id, offsets, _ = line.split("|", 2)
        attributes = {"charOffset": offsets, "type": line.rsplit("|", 1)[1]}
        ElementTree.SubElement(sentences[sentence_id], "entity", attributes)
    return ElementTree.tostring(tree.getroot(), encoding="unicode")


# Files that are not what they seem


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def test_a_git_lfs_pointer_in_place_of_weights_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.gguf").write_text(POINTER)
    (tmp_path / "names").write_text(POINTER)
    assert llm_nerc(tmp_path / "m.gguf", SAMPLE, tmp_path / "out") == 2
    assert llm_nerc(model, SAMPLE, tmp_path / "out", "--names", tmp_path / "names") == 2
    for path, line in zip(("m.gguf", "names"), capsys.readouterr().err.splitlines(), strict=True):
        assert line == (
            f"error: {tmp_path / path}: a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
        )


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are bytes")
def test_file_names_that_are_not_utf_8(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.xml")
    shutil.copy(SAMPLE, source)
    out = tmp_path / os.fsdecode(b"r\xe9sultat")
    assert llm_nerc(model, source, out, "--limit", 2) == 0
    assert run_command(evaluate.main, source, out) == 0
