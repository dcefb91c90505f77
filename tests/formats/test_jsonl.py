"""JSON lines of our own: what is written is read back, and broken lines are named."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError
from constrained_ner.formats.jsonl import read_json, write_jsonl
from constrained_ner.formats.protocol import Losses, Reading


def reading(notes: list[str] | None = None, damaged: list[str] | None = None, **fields: str) -> Reading:
    return Reading(
        notify=(notes if notes is not None else []).append,
        report_damaged=(damaged if damaged is not None else []).append,
        **fields,  # type: ignore[arg-type]
    )


def read(path: Path, content: str, **fields: str) -> tuple[list[Document], list[str], list[str]]:
    path.write_text(content, encoding="utf-8", newline="")
    notes: list[str] = []
    damaged: list[str] = []
    documents = list(read_json(path, reading(notes, damaged, **fields)))
    return documents, notes, damaged


def places(document: Document) -> set[tuple[str, tuple[Span, ...], str, str]]:
    return {(id, mention.spans, mention.type, mention.text) for id, mention in document.located()}


@given(corpus=CORPORA)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    corpus = [document for document in corpus if document.sentences or document.text is not None]
    if not corpus:
        return
    losses = Losses()
    text = "".join(write_jsonl(corpus, losses))
    found, notes, damaged = read(tmp_path_factory.mktemp("jsonl") / "texts.jsonl", text)
    assert [(d.id, d.text) for d in found] == [(d.id, d.text) for d in corpus]
    for before, after in zip(corpus, found, strict=True):
        assert places(after) == places(before)
    assert not damaged
    assert not losses.counts
    if not notes:  # the same mention twice is read once
        assert "".join(write_jsonl(found, losses)) == text


def test_a_line_has_half_open_offsets_confidence_and_provenance() -> None:
    mention = Mention((Span(5, 12),), "drug", "aspirin", 0.98, "constrained")
    [line] = write_jsonl([Document.of_text("leaflet", "Take aspirin.", [mention])], Losses())
    assert json.loads(line) == {
        "id": "leaflet",
        "text": "Take aspirin.",
        "mentions": [
            {
                "start": 5,
                "end": 12,
                "text": "aspirin",
                "type": "drug",
                "confidence": 0.98,
                "provenance": "constrained",
            }
        ],
    }


def test_offsets_of_a_part_count_from_the_beginning_of_its_source(tmp_path: Path) -> None:
    part = Document.of_text("long", "aspirin", [Mention((Span(0, 7),), "drug", "aspirin")], start=1000)
    text = "".join(write_jsonl([part], Losses()))
    assert json.loads(text)["mentions"][0]["start"] == 1000
    assert read(tmp_path / "x.jsonl", text)[0] == [part]


def test_sentences_of_a_split_text_are_one_line() -> None:
    sentences = (
        Sentence("d.s0", "No."),
        Sentence("d.s1", "Zinc.", (Mention((Span(0, 4),), "drug", "Zinc"),), start=4),
    )
    [line] = write_jsonl([Document("d", sentences, "No. Zinc.")], Losses())
    assert json.loads(line)["mentions"][0]["start"] == 4


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    content = '{"text": "a"}\n{"text": "b"\n\n{"text": "c"}\n'
    documents, _, damaged = read(tmp_path / "x.jsonl", content)
    assert [(d.id, d.text) for d in documents] == [("x.1", "a"), ("x.3", "c")]
    assert damaged == [
        f"{tmp_path}/x.jsonl: line 2: not JSON: Expecting ',' delimiter at character 13: '{{\"text\": \"b\"'"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("[]", "no records"),
        ("nothing\n", "line 1: not JSON: Expecting value"),
        (
            '{"a": 1}\n{"a": 2}\n',
            "line 1: no text (its keys: 'a'); name its field with --text-field (and so on",
        ),
        ("7\n8\n", "line 1: not a record with a text: 7"),
        ('{"text": "\\ud83d"}\n', "line 1: 'text' has half a character"),
        ('{"text": 7}\n', "line 1: no text (its keys: 'text')"),
        (
            '{"text": "a", "entities": [{"offset": 0}]}\n',
            "line 1: its mentions are of no shape that is known",
        ),
        ("[" * 100_000 + "\n", "line 1: not JSON: too deeply nested"),
        ("9" * 5000 + "\n", "line 1: not JSON: Exceeds the limit"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.jsonl", content)
    assert str(caught.value).startswith(f"{tmp_path}/x.jsonl: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a"}, {"text": "b"}]',
        '[\n {"text": "a"},\n {\n  "text": "b"\n }\n]\n',
        '{"text": "a"}\n{"text": "b"}\n',
        '{"text": "a"}\r\n\r\n{"text": "b"}\r\n',
        '\ufeff{"text": "a"}\n{"text": "b"}',
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_lines_and_lists_are_told_apart_by_what_they_hold(tmp_path: Path, content: str, suffix: str) -> None:
    documents, _, damaged = read(tmp_path / f"x{suffix}", content)
    assert [(d.id, d.text) for d in documents] == [("x.1", "a"), ("x.2", "b")]
    assert not damaged


def test_one_value_may_be_indented_or_not(tmp_path: Path) -> None:
    for content in ('{"text": "a"}', '{\n "text":\n "a"\n}\n'):
        for suffix in ("json", "jsonl"):
            assert [d.text for d in read(tmp_path / f"x.{suffix}", content)[0]] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n {"text": }]', "Expecting value"),
        ('[{"text": "a"}\n {"text": "b"}]', "line 2"),
        ('[{"text": "a"},\n', "line 2"),
    ],
)
def test_a_list_that_is_broken_names_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "x.json", content)


def test_fields_may_be_named(tmp_path: Path) -> None:
    content = '{"abstract": "a b", "pmid": 17, "label": [[0, 1, "X"]]}\n{"title": "b"}\n'
    documents, _, damaged = read(tmp_path / "x.jsonl", content, text_field="abstract", id_field="pmid")
    assert [(d.id, d.text, len(d.sentences[0].mentions)) for d in documents] == [("17", "a b", 1)]
    assert damaged == [f"{tmp_path}/x.jsonl: line 2: no field 'abstract' (its keys: 'title')"]


def test_ids_that_repeat_are_kept_apart(tmp_path: Path) -> None:
    documents, notes, _ = read(tmp_path / "x.jsonl", '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n')
    assert [d.id for d in documents] == ["1", "1-2"]
    assert len(notes) == 1


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "text",
                        "label",
                        "entities",
                        "spans",
                        "start",
                        "end",
                        "data",
                        "annotations",
                        "result",
                        "value",
                        "labels",
                        "tokens",
                        "tags",
                        "ner",
                        "paragraphs",
                        "%FEATURE_STRUCTURES",
                        "tracks",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_value_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    with contextlib.suppress(InputError):
        read(path, json.dumps(value) + "\n")
