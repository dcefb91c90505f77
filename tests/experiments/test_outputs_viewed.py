"""Outputs as a page: where texts come from, what is right and wrong, and what differs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from commands import run_command

from constrained_ner.cli import view as command
from constrained_ner.errors import InputError
from constrained_ner.experiments.outputs_viewed import view_of_outputs
from constrained_ner.rendering.view import View

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
LEAFLET = SAMPLE.with_name("leaflet.txt")
GOLD = "sample.repeats.s1|0-7|Warfarin|drug\nsample.repeats.s1|26-36|fluconazole|drug\n"


def view(*outputs: Path, said: list[str] | None = None, **options: object) -> View:
    return view_of_outputs(outputs, notify=(said if said is not None else []).append, **options)  # type: ignore[arg-type]


def verdicts(shown: View, side: int = 0) -> Counter[str | None]:
    return Counter(mark.verdict for row in shown.rows() for mark in row.sides[side])


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_against_gold_every_mention_is_right_missed_spurious_or_of_another_type(tmp_path: Path) -> None:
    lines = GOLD + "sample.repeats.s1|53-60|warfarin|brand\nsample.repeats.s0|0-3|Take|drug\n"
    shown = view(write(tmp_path / "out", lines), gold=SAMPLE)
    counts = verdicts(shown)
    assert counts["right"] == 2
    assert counts["type"] == 1
    assert counts["spurious"] == 1
    assert counts["missed"] == 87 - 3
    assert sum((shown.n_gold or {}).values()) == 87
    html = "".join(shown.html())
    assert "≠ brand (gold drug)" in html
    assert len(shown.errors) == 86


def test_two_outputs_show_what_differs(tmp_path: Path) -> None:
    one = write(tmp_path / "one.out", GOLD)
    other = write(
        tmp_path / "other.out",
        GOLD.replace("fluconazole|drug", "fluconazole|group") + "sample.repeats.s0|5-11|aspirin|drug\n",
    )
    shown = view(one, other, texts=SAMPLE)
    assert shown.columns == ("one.out", "other.out")
    assert verdicts(shown, 0) == {"same": 1, "type": 1}
    assert verdicts(shown, 1) == {"same": 1, "type": 1, "only": 1}
    assert [row.id for row in shown.rows() if row.differs] == ["sample.repeats.s0", "sample.repeats.s1"]


def test_a_running_text_is_shown_whole_and_cut_inside_no_name(tmp_path: Path) -> None:
    text = "  Take Dr. Smith's Rash. It helps.\n\nAspirin, too.\n"
    name = "Dr. Smith's Rash. It"
    start = text.index(name)
    mentions = [
        {"start": start, "end": start + len(name), "text": name, "type": "brand", "confidence": 0.5},
        {"start": text.index("Aspirin"), "end": text.index("Aspirin") + 7, "text": "Aspirin", "type": "drug"},
    ]
    out = write(tmp_path / "out.jsonl", json.dumps({"id": "d", "text": text, "mentions": mentions}) + "\n")
    shown = view(out)
    rows = list(shown.rows())
    assert "".join(row.text for row in rows) == text
    assert len(rows) == 2
    for row in rows:
        for mark in row.sides[0]:
            assert row.text[mark.mention.start : mark.mention.end] == mark.mention.text
    assert [name.text for name in shown.names] == [name, "Aspirin"]


def test_without_texts_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name that file with --text"):
        view(write(tmp_path / "out", GOLD))


def test_mentions_of_unknown_texts_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    view(write(tmp_path / "out", GOLD + "nowhere.s0|0-3|Take|drug\n"), texts=SAMPLE, said=said)
    assert any("1 mentions name texts that are not shown" in line for line in said)


def test_confidences_of_another_output_are_not_used(tmp_path: Path) -> None:
    out = write(tmp_path / "out", GOLD)
    record = {
        "sentence": "sample.repeats.s1",
        "start": 0,
        "end": 8,
        "text": "Warfarin",
        "type": "drug",
        "confidence": 0.5,
        "provenance": "constrained",
    }
    write(tmp_path / "out.mentions.jsonl", json.dumps(record) + "\n")
    said: list[str] = []
    assert not view(out, texts=SAMPLE, said=said).has_confidences
    assert "belongs to another output" in said[0]


def test_the_command_writes_a_page_and_refuses_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = write(tmp_path / "out", GOLD)
    page = tmp_path / "page.html"
    assert run_command(command.main, out, "--gold", SAMPLE, "-o", page) == 0
    assert "42 sentences of 7 documents" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    for arguments, message in (
        ([out, "-o", tmp_path / "page.txt"], "not an HTML file name"),
        ([out, out, out, "-o", page], "one output or two, not 3"),
        ([tmp_path / "none", "-o", tmp_path / "new.html"], "No such file"),
        ([out, "-o", page], "exists; choose another name, or pass --overwrite"),
        ([out, "--gold", LEAFLET, "-o", tmp_path / "new.html"], "nothing is annotated in it"),
        ([page, "-o", page], "it would be overwritten"),
    ):
        assert run_command(command.main, *arguments) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error
