"""JSON of other tools: the shape is recognised, or refused with its keys; nothing is lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from constrained_ner.data import Document
from constrained_ner.errors import InputError
from constrained_ner.formats.jsonl import read_json
from constrained_ner.formats.protocol import UNTYPED, Reading

TEXT = "Take aspirin."


def read(folder: Path, *records: Any) -> tuple[list[Document], list[str], list[str]]:
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    notes: list[str] = []
    damaged: list[str] = []
    return list(read_json(path, Reading(notify=notes.append, report_damaged=damaged.append))), notes, damaged


def found(documents: list[Document]) -> list[tuple[list[tuple[int, int]], str, str]]:
    return [
        ([(s.start, s.end) for s in m.spans], m.type, m.text)
        for document in documents
        for sentence in document
        for m in sentence.mentions
    ]


def sofa(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    structures = [{"%ID": 1, "%TYPE": "uima.cas.Sofa", "sofaString": text}]
    return {"%FEATURE_STRUCTURES": structures + [{"@sofa": 1, **a} for a in annotations]}


@pytest.mark.parametrize(
    "record",
    [
        {"text": TEXT, "label": [[5, 12, "drug"]]},
        {"text": TEXT, "labels": [[5, 12, "drug"]], "meta": {}},
        {
            "text": TEXT,
            "entities": [{"id": 1, "start_offset": 5, "end_offset": 12, "label": "drug"}],
            "Comments": [],
        },
        {"text": TEXT, "annotations": [{"start_offset": 5, "end_offset": 12, "label": "drug", "user": 1}]},
        {
            "text": TEXT,
            "spans": [{"start": 5, "end": 12, "label": "drug", "token_end": 1}],
            "answer": "accept",
        },
        {"text": TEXT, "ents": [{"start": 5, "end": 12, "label": "drug"}], "sents": [], "tokens": []},
        {"text": TEXT, "entities": [[5, 12, "drug"]]},
        [TEXT, {"entities": [[5, 12, "drug"]]}],
        {"text": TEXT, "denotations": [{"id": "T1", "span": {"begin": 5, "end": 12}, "obj": "drug"}]},
        {"text": TEXT, "tracks": [{"denotations": [{"span": {"begin": 5, "end": 12}, "obj": "drug"}]}]},
        {
            "text": TEXT,
            "annotations": [{"mention": "aspirin", "obj": "drug", "span": {"begin": 5, "end": 12}}],
        },
        {
            "text": TEXT,
            "extractions": [
                {
                    "extraction_class": "drug",
                    "extraction_text": "aspirin",
                    "char_interval": {"start_pos": 5, "end_pos": 12},
                }
            ],
        },
        {"tokenized_text": ["Take", "aspirin", "."], "ner": [[1, 1, "drug"]]},
        {"tokens": ["Take", "aspirin", "."], "ner_tags": ["O", "B-drug", "O"]},
        {
            "data": {"text": TEXT},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "labels",
                            "value": {"start": 5, "end": 12, "text": "aspirin", "labels": ["drug"]},
                        }
                    ]
                }
            ],
        },
        {
            "data": {"text": TEXT},
            "predictions": [
                {
                    "result": [
                        {
                            "type": "labels",
                            "value": {"start": 5, "end": 12, "text": "aspirin", "labels": ["drug"]},
                        }
                    ]
                }
            ],
        },
        {"id": 1, "text": TEXT, "ner": [{"start": 5, "end": 12, "text": "aspirin", "labels": ["drug"]}]},
        {"review": TEXT, "x": [{"start": 5, "end": 12, "text": "aspirin", "labels": ["drug"]}]},
        {
            "id": 0,
            "paragraphs": [
                {
                    "sentences": [
                        {
                            "tokens": [
                                {"orth": "Take", "ner": "O"},
                                {"orth": "aspirin", "ner": "U-drug"},
                                {"orth": "."},
                            ]
                        }
                    ]
                }
            ],
        },
        sofa(TEXT, {"%TYPE": "custom.NamedEntity", "begin": 5, "end": 12, "value": "drug"}),
        sofa(TEXT, {"%TYPE": "drug", "begin": 5, "end": 12}, {"%TYPE": "a.Token", "begin": 5, "end": 12}),
    ],
)
def test_every_tool_says_the_same(tmp_path: Path, record: Any) -> None:
    documents, _, damaged = read(tmp_path, record)
    [(spans, type, text)] = found(documents)
    assert (type, text) == ("drug", "aspirin")
    [(start, end)] = spans
    assert documents[0].sentences[0].text[start:end] == "aspirin"
    assert not damaged


def test_a_score_is_the_confidence(tmp_path: Path) -> None:
    documents, _, _ = read(
        tmp_path,
        {"text": TEXT, "annotations": [{"obj": "drug", "span": {"begin": 5, "end": 12}, "logit": 0.75}]},
    )
    assert documents[0].sentences[0].mentions[0].confidence == 0.75


def test_pieces_of_a_mention_are_kept(tmp_path: Path) -> None:
    pieces = [{"begin": 0, "end": 2}, {"begin": 10, "end": 18}]
    record = {"text": "H1 and H2 blockers", "denotations": [{"span": pieces, "obj": "group"}]}
    assert found(read(tmp_path, record)[0]) == [([(0, 2), (10, 18)], "group", "H1 blockers")]


def test_the_records_own_words_tell_what_its_offsets_count(tmp_path: Path) -> None:
    text = "💊💊 aspirin and iron"
    utf_16 = {
        "text": text,
        "spans": [
            {"start": 5, "end": 12, "text": "aspirin", "label": "drug"},
            {"start": 17, "end": 21, "text": "iron", "label": "drug"},
        ],
    }
    documents, notes, _ = read(tmp_path, utf_16)
    assert [text for _, _, text in found(documents)] == ["aspirin", "iron"]
    assert found(documents)[0][0] == [(3, 10)]
    assert len(notes) == 1
    assert "UTF-16" in notes[0]


def test_uima_counts_utf_16(tmp_path: Path) -> None:
    record = sofa("💊 aspirin", {"%TYPE": "drug", "begin": 3, "end": 10})
    assert found(read(tmp_path, record)[0]) == [([(2, 9)], "drug", "aspirin")]


def test_mentions_that_cannot_be_placed_are_counted_and_do_not_stop_the_others(tmp_path: Path) -> None:
    record = {
        "text": TEXT,
        "entities": [
            {"start": 5, "end": 12, "label": "drug"},
            {"start": 5, "end": 99, "label": "drug"},
            {"start": None, "end": 7, "label": "drug"},
            {"start": 7, "end": 7, "label": "drug"},
            "aspirin",
        ],
    }
    documents, [note], _ = read(tmp_path, record)
    assert len(found(documents)) == 1
    assert "4 of 5 mentions cannot be read and are left out" in note


def test_the_text_wins_over_the_words_of_the_file(tmp_path: Path) -> None:
    record = {
        "text": TEXT,
        "spans": [
            {"start": 5, "end": 12, "text": "Aspirin™", "label": "drug"},
            {"start": 0, "end": 4, "text": "Take", "label": "verb"},
        ],
    }
    documents, [note], _ = read(tmp_path, record)
    assert [spans for spans, _, _ in found(documents)] == [[(0, 4)], [(5, 12)]]
    assert "1 of 2 mentions have other words" in note
    assert "line 1: 'Aspirin™', the text has 'aspirin'" in note


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_a_rejected_record_is_text_without_gold(tmp_path: Path, answer: str) -> None:
    record = {"text": TEXT, "spans": [{"start": 5, "end": 12, "label": "drug"}], "answer": answer}
    documents, [note], _ = read(tmp_path, record)
    assert [d.text for d in documents] == [TEXT]
    assert not found(documents)
    assert repr(answer) in note


def test_what_several_users_marked_is_no_sum(tmp_path: Path) -> None:
    items = [{"start_offset": 5, "end_offset": 12, "label": "drug", "user": user} for user in (7, 8, 9)]
    documents, [note], _ = read(tmp_path, {"text": TEXT, "annotations": items})
    assert len(found(documents)) == 1
    assert "a second user" in note
    assert "2 times" in note


def test_of_several_answers_to_a_task_the_first_that_was_not_cancelled_is_read(tmp_path: Path) -> None:
    def answer(type: str, **more: Any) -> dict[str, Any]:
        value = {"start": 5, "end": 12, "text": "aspirin", "labels": [type]}
        return {"result": [{"type": "labels", "value": value}], **more}

    task = {
        "data": {"text": TEXT},
        "annotations": [answer("a", was_cancelled=True), answer("b"), answer("c")],
    }
    documents, notes, _ = read(tmp_path, task)
    assert [type for _, type, _ in found(documents)] == ["b"]
    assert any("cancelled" in note for note in notes)
    assert any("several annotations of the same text" in note for note in notes)


def test_a_region_with_two_labels_is_two_mentions(tmp_path: Path) -> None:
    row = {"text": TEXT, "ner": [{"start": 5, "end": 12, "text": "aspirin", "labels": ["brand", "drug"]}]}
    assert [type for _, type, _ in found(read(tmp_path, row)[0])] == ["brand", "drug"]


def test_a_mention_without_a_type_gets_one_and_it_is_told(tmp_path: Path) -> None:
    documents, [note], _ = read(tmp_path, {"text": TEXT, "label": [[5, 12]]})
    assert found(documents) == [([(5, 12)], UNTYPED, "aspirin")]
    assert UNTYPED in note


def test_repeated_mentions_are_one(tmp_path: Path) -> None:
    documents, [note], _ = read(
        tmp_path, {"text": TEXT, "label": [[5, 12, "drug"], [5, 12, "drug"], [5, 12, "x"]]}
    )
    assert len(found(documents)) == 2
    assert "repeats another" in note


def test_classes_of_a_text_are_no_mentions(tmp_path: Path) -> None:
    documents, notes, _ = read(tmp_path, {"text": TEXT, "label": ["positive"]}, {"text": TEXT, "label": "x"})
    assert len(documents) == 2
    assert not found(documents)
    assert "'label' holds no mentions and is not read" in notes[0]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": TEXT, "entities": [{"offset": 5, "length": 7}]}, "keys: 'text', 'entities'"),
        ({"tokens": ["a"], "ner_tags": [3]}, "tags are numbers without names"),
        ({"tokens": ["a"], "ner_tags": ["O", "O"]}, "1 tokens have 2 tags"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, "'PER' is not a tag"),
        ({"%FEATURE_STRUCTURES": []}, "no 'sofaString'"),
        ({"data": {"image": "x"}, "annotations": []}, "no text (its keys: 'image')"),
        ({"paragraphs": [{}]}, "not a document of spaCy 2"),
        ({"body": TEXT}, "no text (its keys: 'body')"),
    ],
)
def test_a_new_shape_is_refused_with_its_keys(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, record)
    assert message in str(caught.value)
    _, _, [damaged] = read(tmp_path, {"text": TEXT}, record)
    assert message in damaged
    assert "line 2" in damaged
