"""Self-training: merging the mentions of lexicon and teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from constrained_ner import Annotator, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.training.bundled_model.teaching import reconciled, teach

TEXT = "Zorvex and aspirin raise penicillin derivatives."


def mention(words: str, kind: str, confidence: float | None = None) -> Mention:
    start = TEXT.index(words)
    return Mention((Span(start, start + len(words)),), kind, words, confidence)


def pairs(mentions: tuple[Mention, ...] | None) -> list[tuple[str, str]]:
    return [(m.text, m.type) for m in mentions or ()]


def test_each_adds_what_the_other_does_not_know() -> None:
    listed = [mention("Zorvex", "brand"), mention("penicillin", "drug")]
    marked = [mention("aspirin", "drug", 0.9), mention("penicillin derivatives", "group", 0.8)]
    assert pairs(reconciled(listed, marked)) == [
        ("Zorvex", "brand"),
        ("aspirin", "drug"),
        ("penicillin derivatives", "group"),
    ]


def test_the_lexicon_decides_on_the_type_of_what_it_lists() -> None:
    marked = [mention("Zorvex", "drug", 0.4)]
    assert pairs(reconciled([mention("Zorvex", "brand")], marked)) == [("Zorvex", "brand")]
    assert pairs(reconciled([mention("aspirin", "group")], [mention("aspirin", "drug", 0.9)])) == [
        ("aspirin", "drug")
    ]


def test_the_teacher_decides_on_groups() -> None:
    assert reconciled([mention("penicillin derivatives", "group")], []) == ()


def test_a_sentence_that_the_teacher_is_unsure_of_teaches_nothing() -> None:
    assert reconciled([], [mention("aspirin", "drug", 0.4)]) is None


def test_what_was_taught_is_kept_and_read_again(tmp_path: Path) -> None:
    tagged = [
        Sentence(f"s{n}", text)
        for n, text in enumerate(["Aspirin raises naproxen.", "Nothing <here>\u2028."])
    ]
    path = tmp_path / "taught.jsonl"
    with Annotator.load(lexicon="none") as teacher:  # the list comes afterwards, in `teach`
        first = teach(teacher, tagged, 2, path, np.random.default_rng(0))
        again = teach(teacher, [], 0, path, np.random.default_rng(0))
    assert sorted(s.text for s in first) == sorted(s.text for s in tagged)
    assert first == again
    assert any(m.text == "Aspirin" for s in first for m in s.mentions)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "taught.jsonl"
    path.write_text('{"id": "a"}\n')
    with Annotator.load() as teacher, pytest.raises(InputError, match=r"taught\.jsonl: line 1"):
        teach(teacher, [], 0, path, np.random.default_rng(0))
