"""GENETAG's tagged sentences, and what is no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from constrained_ner.errors import InputError
from constrained_ner.formats.genetag import recognises_genetag


def test_words_that_touch_are_one_mention(tmp_path: Path, read) -> None:
    path = tmp_path / "x.txt"
    path.write_text("@@1 The/DT T/NEWGENE antigen/NEWGENE p53/NEWGENE1 and/or/CC TBP/NEWGENE\n\n@@2 No/NN\n")
    (first, second), told = read("genetag", path)
    assert (first.id, first.text, second.id, second.text) == (
        "@@1",
        "The T antigen p53 and/or TBP",
        "@@2",
        "No",
    )
    assert [(m.start, m.text, m.type) for _, m in first.located()] == [
        (4, "T antigen", "NEWGENE"),
        (14, "p53", "NEWGENE"),
        (25, "TBP", "NEWGENE"),
    ]
    assert "texts are made up" in told[0]


def test_its_gold_file_is_refused_and_other_lines_are_named(tmp_path: Path, read) -> None:
    path = tmp_path / "x.txt"
    path.write_text("@@1|0 2|Large T antigen\n")
    with pytest.raises(InputError, match=r"line 1: .* counts the words of a text that is not here"):
        read("genetag", path)
    path.write_text("@@1 The/DT\n@@2 no tag\n")
    with pytest.raises(InputError, match="line 2: not of the form @@ID word/TAG"):
        read("genetag", path)
    assert recognises_genetag(path, "@@1|0 2|x\n")
    assert not recognises_genetag(path, "Take 1/2 of it/them\n")


def test_pages_are_refused(tmp_path: Path, read) -> None:
    with pytest.raises(InputError, match=r"x.html: a page in HTML: .* as .txt"):
        read("html", tmp_path / "x.html")
