"""From one format to another, and what is said on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_command

from constrained_ner.cli import convert, evaluate

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"


@pytest.mark.parametrize("to", ["jsonl", "ddi", "bioc", "bioc-json", "lines", "conll", "inline", "pubtator"])
def test_the_sample_is_written_in_every_format_and_found_again(
    tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_command(convert.main, SAMPLE, out, "--to", to) == 0
    assert "mentions in 7 documents" in capsys.readouterr().out
    assert out.stat().st_size > 1000
    again = tmp_path / "again"
    if to != "lines":
        assert run_command(convert.main, out, again, "--from", to, "--to", "lines") == 0
        assert len(again.read_text().splitlines()) >= 85  # of 87


def test_what_a_format_cannot_express_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(convert.main, SAMPLE, tmp_path / "out.conll") == 0
    assert (
        "what conll cannot express: 2 line breaks in sentences written as spaces; 1 mentions left out"
        in capsys.readouterr().err
    )


def test_converted_gold_scores_like_the_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(convert.main, SAMPLE, tmp_path / "out.jsonl") == 0
    capsys.readouterr()
    assert run_command(evaluate.main, SAMPLE, tmp_path / "out.jsonl") == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("m.avg  ")]
    assert line.split()[1:4] == ["87", "0", "0"]


def test_files_are_not_replaced_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    assert run_command(convert.main, SAMPLE, out) == 2
    assert "exists; choose another name, or pass --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run_command(convert.main, SAMPLE, out, "--overwrite") == 0
    assert run_command(convert.main, out, out, "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err


def test_a_broken_record_is_named_and_the_others_are_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "iron"}\n{"id": "b"\n{"id": "c", "text": "zinc"}\n')
    assert run_command(convert.main, source, tmp_path / "out.jsonl") == 1
    assert f"{source}: line 2: not JSON" in capsys.readouterr().err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_what_a_file_says_is_not_obeyed_by_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"id": "a", "text": "iron", "mentions": [{"start": 0, "end": 4, "type": "x\\u001b[31m"}]}\n'
    )
    assert run_command(convert.main, source, tmp_path / "out.jsonl", "--types", "a=b") == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out
    assert r"1 x\x1b[31m" in said.err


def test_sentences_of_a_long_text_have_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("Aspirin helps. So does iron.\n\n" * 50_000)
    assert run_command(convert.main, tmp_path / "long.txt", tmp_path / "out.conll") == 0
    ids = [line for line in (tmp_path / "out.conll").read_text().splitlines() if line.startswith("# sent_id")]
    assert len(set(ids)) == len(ids) == 100_000


def test_the_folder_of_label_studio_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(convert.main, SAMPLE, tmp_path / "out", "--to", "label-studio") == 0
    assert run_command(convert.main, tmp_path / "out", tmp_path / "back.jsonl") == 0
    assert "mentions in 42 documents" in capsys.readouterr().out  # a task for each sentence


@pytest.mark.parametrize(("name", "format"), [("out.brat", "brat"), ("out.doccano", "doccano")])
def test_a_suffix_may_name_a_format(
    tmp_path: Path, name: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(convert.main, SAMPLE, tmp_path / name) == 0
    assert f"({format})" in capsys.readouterr().out
