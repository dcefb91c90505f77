"""The worst files, given to commands: one clear line and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from commands import run_command

from constrained_ner.cli import convert, evaluate

GOLD = Path(__file__).parents[2] / "examples" / "sample.xml"
REFUSED = {
    "a.jsonl": b'{"text": ' + b"[" * 100_000,
    "b.json": b'[{"text": ' + b"9" * 5000 + b"}]",
    "c.jsonl": b'{"text": "half \\ud83d"}\n',
    "d.xml": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><document>&a;</document>',
    "e.xml": b"<a>" * 50_000,
    "f.conll": b"a\tB-drug\tx\nb\n",
    "g.csv": b"\xef\xbb\xbfid;value\n1;2\n",
    "h.txt": b"\xff\xfe\x00\xd8\x00",
    "i.ann": b"T1\tdrug 0 4\tiron\n",
    "j.pubtator": b"1|x|Iron\n\0\n",
    "k.inline": b"<drug>iron</group>\n",
    "l.spacy": b"\x78\x9c no DocBin",
    "m.json": b"null",
    "n.xml": b"",
}
READ = {
    "a.csv": b'id,text\r../../x,"=1+1"\ra|b,Iron.\r',
    "b.jsonl": b'{"id": "../../x", "text": "Iron\\u0000\\u001b[31m"}\n{"id": "a\\nb|c", "text": "Zinc"}\n',
    "c.inline": b"\xef\xbb\xbf<drug>Iron\r</drug> &#x1F600; \xe2\x80\xae\r\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_ends_a_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(REFUSED[name])
    for command, *arguments in (
        (convert.main, path, tmp_path / "out", "--to", "jsonl"),
        (evaluate.main, path, GOLD),
    ):
        assert run_command(command, *arguments) in (1, 2)  # type: ignore[arg-type]
        told = capsys.readouterr().err
        assert name in told.replace(".txt", ".ann" if name == "i.ann" else ".txt")
        errors = [line for line in told.splitlines() if not line.startswith("note: ")]
        assert len(errors) <= 2
        assert all(len(line) < 700 and line.isprintable() for line in errors)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["brat", "label-studio", "lines", "csv", "bioc", "conll", "pubtator"])
@pytest.mark.parametrize("name", READ)
def test_odd_ids_and_texts_stay_inside_the_output(tmp_path: Path, name: str, to: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(READ[name])
    before = set(tmp_path.parent.iterdir())
    assert run_command(convert.main, path, tmp_path / "in" / "out", "--to", to) == 0
    assert set(tmp_path.parent.iterdir()) == before
    assert set(tmp_path.iterdir()) == {tmp_path / "in"}
    assert {file.name for file in (tmp_path / "in").iterdir()} == {name, "out"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_a_file_name_that_is_not_utf_8_can_be_converted(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_bytes(b"Iron.")
    for to in ("jsonl", "bioc", "conll", "lines", "ddi"):
        assert run_command(convert.main, path, tmp_path / f"out.{to}", "--to", to) == 0
