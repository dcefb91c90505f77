"""What a run writes over: its own results, never what it reads, what others wrote only if asked to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from test_job import SAMPLE, annotate_file, fake, no_model, opening, small_input

from constrained_ner.annotation.settings import Settings
from constrained_ner.errors import DamagedFilesError, OutputError
from constrained_ner.formats.evaluator_lines import read_predictions
from constrained_ner.formats.mentions import mentions_path
from constrained_ner.runs import splits
from constrained_ner.runs.job import annotate_file as annotate
from constrained_ner.runs.progress import ProgressDisplay
from constrained_ner.runs.record import RunRecord, record_path
from constrained_ner.runs.source import Input


class Display(ProgressDisplay):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def refused(input: Path, output: Path, settings: Settings | None = None, *, overwrite: bool = False) -> str:
    """Why a run is refused before any model is loaded."""
    before = {path: path.read_bytes() for path in output.parent.rglob("*") if path.is_file()}
    with pytest.raises(OutputError) as caught:
        annotate(input, output, settings, overwrite=overwrite, open_annotator=no_model)
    assert before == {path: path.read_bytes() for path in output.parent.rglob("*") if path.is_file()}
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_over_a_file_that_the_run_reads_is_refused(tmp_path: Path, overwrite: bool) -> None:
    source, names = small_input(tmp_path), tmp_path / "names.txt"
    names.write_text("iron|drug\n")
    settings = Settings(names=names, examples=source, model=str(tmp_path / "in.xml"))
    (tmp_path / "link").symlink_to(names)
    os.link(names, tmp_path / "second")
    for output in ("names.txt", "link", "second"):
        message = refused(source, tmp_path / output, settings, overwrite=overwrite)
        assert message == f"{tmp_path / output}: is the file of --names; it would be overwritten"
    (tmp_path / "a.mentions.jsonl").write_text("iron|drug\n")
    settings = Settings(names=tmp_path / "a.mentions.jsonl")
    assert "a.mentions.jsonl: is the file of --names" in refused(
        source, tmp_path / "a", settings, overwrite=overwrite
    )


def test_an_output_that_the_next_run_would_read_is_refused(tmp_path: Path) -> None:
    small_input(tmp_path)
    assert "would be read as part of the input the next time" in refused(tmp_path, tmp_path / "out.xml")
    annotate(tmp_path, tmp_path / "out", open_annotator=opening())
    annotate(tmp_path, tmp_path / "out", open_annotator=opening())


def test_a_file_that_no_run_has_written_is_replaced_only_if_asked(tmp_path: Path) -> None:
    source = small_input(tmp_path)
    corpus = tmp_path / "other.xml"
    corpus.write_bytes(source.read_bytes())
    assert refused(source, corpus) == (
        f"{corpus}: exists, and no run has written it; choose another name, or pass --overwrite"
    )
    (tmp_path / "new.run.json").write_text("{}")
    assert "new.run.json: exists" in refused(source, tmp_path / "new")
    annotate_file(source, corpus, overwrite=True)
    assert "<entity " in corpus.read_text()  # its name says DDI XML


def test_an_empty_file_is_nobodys(tmp_path: Path) -> None:
    """As `mktemp` makes them."""
    (tmp_path / "out").touch()
    annotate_file(small_input(tmp_path), tmp_path / "out")


def test_the_result_of_another_run_is_replaced_only_if_asked(tmp_path: Path) -> None:
    source, out = small_input(tmp_path), tmp_path / "out"
    annotate_file(source, out)
    before = out.read_bytes()
    with pytest.raises(
        OutputError, match="holds the result of another run, with other settings or sentences"
    ):
        annotate_file(source, out, boundary="char")
    assert out.read_bytes() == before
    assert annotate_file(source, out, boundary="char", overwrite=True).options["boundary"] == "char"


def test_a_finished_run_says_so_and_stops(tmp_path: Path) -> None:
    source, out, display = small_input(tmp_path), tmp_path / "out", Display()
    record = annotate_file(source, out)
    changed = out.stat().st_mtime_ns
    again = annotate(source, out, keep_finished=True, open_annotator=opening(), progress=display)
    assert again == record
    assert out.stat().st_mtime_ns == changed
    assert display.said == [
        f"{out}: {record.n_mentions} mentions in 4 sentences; this run has finished before"
    ]


def test_standard_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(SAMPLE, Path("-")) == "-: results are not written to standard output; name a file"


def test_damaged_files_are_skipped_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    small_input(tmp_path / "in")
    (tmp_path / "in" / "cut.xml").write_text("<document><sent")
    with pytest.raises(DamagedFilesError, match=r"cut\.xml: not XML.*\npass --skip-bad to go on") as caught:
        annotate(tmp_path / "in", tmp_path / "out", open_annotator=no_model)
    assert str(caught.value).startswith(f"{tmp_path / 'in'}: 1 of 2 files cannot be read:")
    display = Display()
    record = annotate(
        Input(tmp_path / "in", skip_damaged=True),
        tmp_path / "out",
        open_annotator=opening(),
        progress=display,
    )
    [(path, reason)] = record.skipped_files
    assert path == str(tmp_path / "in" / "cut.xml")
    assert reason.startswith("not XML: ")
    assert f"skipped {path}: {reason}" in display.said
    assert record.n_sentences == 4
    assert RunRecord.load(record_path(tmp_path / "out")) == record


def test_notes_are_given_once(tmp_path: Path) -> None:
    (tmp_path / "in.xml").write_text('<sentence id="s" text="iron"><entity charOffset="0-3"/></sentence>')
    display = Display()
    for name in ("a", "b"):
        annotate(tmp_path / "in.xml", tmp_path / name, open_annotator=opening(), progress=display)
    assert sum("entities cannot be read and are left out" in line for line in display.said) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are bytes")
def test_file_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.xml")
    source = Path(small_input(tmp_path).rename(tmp_path / name))
    out = tmp_path / os.fsdecode(b"r\xe9sultat")
    record = annotate_file(source, out)
    assert record.input == str(tmp_path / "caf\\xe9.xml")
    assert json.loads(record_path(out).read_text(encoding="utf-8"))["output"].endswith("r\\xe9sultat")
    assert RunRecord.load(record_path(out)) == record
    assert out.exists()
    assert mentions_path(out).exists()


def test_a_user_without_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(splits.Path, "home", no_home)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    display = Display()
    annotate(
        Input(small_input(tmp_path), split="test"),
        tmp_path / "out",
        open_annotator=opening(fake()),
        progress=display,
    )
    [warning] = [line for line in display.said if line.startswith("warning: ")]
    assert warning == (
        "warning: this run on a test split cannot be noted: no home folder; set XDG_STATE_HOME to a folder "
        "where runs can be noted"
    )


@pytest.mark.parametrize(("name", "to"), [("out.jsonl", None), ("out.txt", None), ("out", "brat")])
def test_an_output_that_the_next_run_would_read_is_refused(tmp_path: Path, name: str, to: str | None) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("Aspirin helps.")
    with pytest.raises(OutputError, match="would be read as part of the input the next time"):
        annotate(folder, folder / name, to=to, open_annotator=no_model)
    assert annotate(folder, folder / "results", open_annotator=opening()).n_sentences == 1


def test_a_run_writes_a_folder_of_texts_and_annotations(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("Aspirin helps.\n\nZinc and iron do not.")
    record = annotate(source, tmp_path / "out", to="brat", open_annotator=opening())
    assert (tmp_path / "out" / "a.txt").read_text() == source.read_text()
    lines = (tmp_path / "out" / "a.ann").read_text().splitlines()
    assert len(lines) == record.n_mentions > 0
    with pytest.raises(OutputError, match="holds the result of another run"):
        annotate(source, tmp_path / "out", Settings(boundary="char"), to="brat", open_annotator=opening())
