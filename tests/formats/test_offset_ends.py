"""Exclusive ends are known by the names: taken so, and said; never silently learnt."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from constrained_ner.data import Sentence
from constrained_ner.formats.ddi import read_ddi

TEXT = "Warfarin and aspirin, taken with beta-blockers."


def entity(offsets: str, name: str | None, type_name: str = "drug") -> str:
    named = "" if name is None else f' text="{name}"'
    return f'<entity charOffset="{offsets}" type="{type_name}"{named}/>'


def read(folder: Path, *files: str) -> tuple[list[str], list[str]]:
    """The texts at the offsets of the entities in files of one sentence each, and what was said."""
    for n, inside in enumerate(files):
        (folder / f"{n}.xml").write_text(f'<sentence id="s{n}" text="{TEXT}">{inside}</sentence>')
    said: list[str] = []
    documents = read_ddi(folder, notify=said.append)
    sentences: list[Sentence] = [sentence for document in documents for sentence in document]
    return [s.text[m.start : m.end] for s in sentences for m in s.mentions], said


def test_exclusive_ends_are_read_so_and_said(tmp_path: Path) -> None:
    found, [note] = read(tmp_path, entity("0-8", "Warfarin") + entity("13-20", "aspirin"))
    assert found == ["Warfarin", "aspirin"]
    assert note == (
        f"{tmp_path}: reading the ends of 2 of 2 entities as exclusive, because their names match so"
    )


def test_inclusive_ends_are_read_without_a_word(tmp_path: Path) -> None:
    assert read(tmp_path, entity("0-7", "Warfarin") + entity("13-19", "ASPIRIN")) == (
        ["Warfarin", "aspirin"],
        [],
    )


def test_each_file_of_a_mixed_folder_is_read_its_own_way(tmp_path: Path) -> None:
    found, [note] = read(
        tmp_path, entity("0-7", "Warfarin") * 3, entity("13-20", "aspirin"), entity("13-19", None)
    )
    assert found == ["Warfarin"] * 3 + ["aspirin", "aspirin"]
    assert "the ends of 1 of 5 entities" in note


def test_an_entity_without_a_name_is_read_as_its_file(tmp_path: Path) -> None:
    found, _ = read(tmp_path, entity("0-8", "Warfarin") + entity("13-20", None), entity("0-8", None))
    assert found == ["Warfarin", "aspirin", "Warfarin"]


def test_an_entity_without_a_name_is_left_out_where_names_say_one_as_often_as_the_other(
    tmp_path: Path,
) -> None:
    found, notes = read(
        tmp_path, entity("0-7", "Warfarin") + entity("13-20", "aspirin") + entity("0-8", None)
    )
    assert found == ["Warfarin", "aspirin"]
    assert "cannot tell whether 0-8 counts the last character in" in notes[-1]


def test_an_end_at_the_end_of_the_text(tmp_path: Path) -> None:
    found, _ = read(tmp_path, entity(f"33-{len(TEXT)}", "beta-blockers."))
    assert found == ["beta-blockers."]


def test_a_discontinuous_name_tells_too(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "a.xml"
    inside = entity("0-4;14-22", "beta blockers")
    path.write_text(f'<sentence id="s" text="beta and also blockers.">{inside}</sentence>')
    [document] = read_ddi(path, notify=said.append)
    [mention] = document.sentences[0].mentions
    assert [(s.start, s.end) for s in mention.spans] == [(0, 4), (14, 22)]
    [note] = said
    assert "1 of 1" in note


def test_a_name_in_the_singular_does_not_shorten_the_mention(tmp_path: Path) -> None:
    """blockers, named "blocker": that is no sign of exclusive ends, for no word ends there."""
    found, said = read(tmp_path, entity("33-45", "beta-blocker"))
    assert found == ["beta-blockers"]
    assert said == []


def test_names_that_fit_nothing_are_reported(tmp_path: Path) -> None:
    found, [note] = read(
        tmp_path, entity("5-12", "Warfarin") + entity("18-24", "aspirin") + entity("1-2", "x")
    )
    assert len(found) == 3
    assert "3 of 3 names differ from the text at their offsets" in note


def test_an_empty_exclusive_span_is_left_out_and_named(tmp_path: Path) -> None:
    found, notes = read(tmp_path, entity("0-8", "Warfarin") + entity("13-13", None))
    assert found == ["Warfarin"]
    assert "1 of 2 entities cannot be read" in notes[-1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    exclusive=st.booleans(), words=st.lists(st.text("abcé", min_size=1, max_size=6), min_size=1, max_size=8)
)
def test_either_convention_comes_back_as_the_same_mentions(
    tmp_path: Path, exclusive: bool, words: list[str]
) -> None:
    text = ", ".join(words)
    starts = [sum(len(word) + 2 for word in words[:n]) for n in range(len(words))]
    spans = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    inside = "".join(
        entity(f"{start}-{end if exclusive else end - 1}", word)
        for (start, end), word in zip(spans, words, strict=True)
    )
    path = tmp_path / "a.xml"
    path.write_text(f'<sentence id="s" text="{text}">{inside}</sentence>', encoding="utf-8")
    said: list[str] = []
    [document] = read_ddi(path, notify=said.append)
    assert [(m.start, m.end) for m in document.sentences[0].mentions] == spans
    assert len(said) == exclusive


@pytest.mark.parametrize("split", ["train", "devel"])
def test_nothing_is_said_of_the_corpus(shared: Path, split: str) -> None:
    said: list[str] = []
    read_ddi(shared / f"data/ddi/{split}.xml", notify=said.append)
    assert said == []
