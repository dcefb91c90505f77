"""A Label Studio project: the configuration fits the tasks, and both are read back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from random_documents import CORPORA

from constrained_ner.data import Document, Mention, Provenance, Sentence, Span
from constrained_ner.formats.doccano import write_doccano
from constrained_ner.formats.jsonl import read_json
from constrained_ner.formats.label_studio import write_label_studio
from constrained_ner.formats.protocol import Losses, Reading


def written(documents: Iterable[Document], losses: Losses | None = None) -> dict[str, str]:
    files: dict[str, str] = defaultdict(str)
    for name, piece in write_label_studio(documents, losses or Losses()):
        files[name] += piece
    return files


def leaflet(provenance: Provenance = "constrained") -> Document:
    mentions = [
        Mention((Span(5, 12),), "drug", "aspirin", 0.9, provenance),
        Mention((Span(17, 21),), "drug & co", "iron", 0.25, provenance),
    ]
    return Document.of_text("leaflet", "Take aspirin and iron.", mentions)


def test_a_models_mentions_are_a_prediction_with_scores() -> None:
    [task] = json.loads(written([leaflet()])["tasks.json"])
    assert task["data"] == {"id": "leaflet", "text": "Take aspirin and iron."}
    assert "annotations" not in task
    [prediction] = task["predictions"]
    assert prediction["model_version"] == "constrained-ner"
    assert prediction["score"] == 0.25
    assert [region["score"] for region in prediction["result"]] == [0.9, 0.25]
    assert prediction["result"][0]["value"] == {"start": 5, "end": 12, "text": "aspirin", "labels": ["drug"]}


def test_gold_mentions_are_an_annotation() -> None:
    losses = Losses()
    [task] = json.loads(written([leaflet("gold")], losses)["tasks.json"])
    assert "predictions" not in task
    assert len(task["annotations"][0]["result"]) == 2
    assert losses.counts == {"confidences of gold mentions left out": 2}


def regions_of(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        region
        for task in tasks
        for key in ("annotations", "predictions")
        for answer in task.get(key, [])
        for region in answer["result"]
    ]


@given(corpus=CORPORA)
def test_the_configuration_declares_all_that_the_tasks_use(corpus: list[Document]) -> None:
    files = written(corpus)
    view = fromstring(files["config.xml"])
    labels, text = view.find("Labels"), view.find("Text")
    declared = [label.get("value") for label in labels]
    tasks = json.loads(files["tasks.json"])
    regions = regions_of(tasks)
    ids = [region["id"] for region in regions]
    assert len(ids) == len(set(ids))
    assert declared
    assert len(declared) == len(set(declared))
    assert labels.get("toName") == text.get("name") == "text"
    assert text.get("value") == "$text"
    for task in tasks:
        for region in regions_of([task]):
            value = region["value"]
            assert region["from_name"] == labels.get("name")
            assert region["to_name"] == text.get("name")
            assert set(value["labels"]) <= set(declared)
            assert 0 <= value["start"] < value["end"] <= len(task["data"]["text"])


@given(corpus=CORPORA)
def test_a_project_is_read_back_and_written_again_alike(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    first = written(corpus)
    if first["tasks.json"] == "[]\n":
        return
    path = tmp_path_factory.mktemp("project") / "tasks.json"
    notes: list[str] = []
    path.write_text(first["tasks.json"], encoding="utf-8", newline="")
    found = list(read_json(path, Reading(notify=notes.append)))
    if not any("repeats" in note for note in notes):
        assert written(found) == first


def test_predictions_keep_score_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(written([leaflet()])["tasks.json"])
    assert list(read_json(path, Reading(notify=lambda _: None))) == [leaflet()]


# doccano


def test_doccano_gets_text_and_labels() -> None:
    losses = Losses()
    [line] = write_doccano([leaflet()], losses)
    assert json.loads(line) == {
        "id": "leaflet",
        "text": "Take aspirin and iron.",
        "label": [[5, 12, "drug"], [17, 21, "drug & co"]],
    }
    assert losses.counts == {"confidences left out": 2}


def test_doccano_gets_sentences_that_stand_apart_as_records() -> None:
    losses = Losses()
    lines = list(write_doccano([Document("d", (Sentence("d.s0", "a"), Sentence("d.s1", "b")))], losses))
    assert [json.loads(line)["id"] for line in lines] == ["d.s0", "d.s1"]
    assert losses.counts == {
        "documents without a text of their own, written as a record for each sentence": 1
    }


def test_doccano_gets_a_long_text_whole() -> None:
    mention = Mention((Span(0, 4),), "drug", "iron")
    parts = [Document.of_text("d", "zinc "), Document.of_text("d", "iron", [mention], start=5)]
    [line] = write_doccano(parts, Losses())
    assert json.loads(line) == {"id": "d", "text": "zinc iron", "label": [[5, 9, "drug"]]}


@given(corpus=CORPORA)
def test_doccano_lines_are_read_back_and_written_again_alike(
    tmp_path_factory: pytest.TempPathFactory, corpus: list[Document]
) -> None:
    first = "".join(write_doccano(corpus, Losses()))
    if not first:
        return
    path = tmp_path_factory.mktemp("doccano") / "x.jsonl"
    path.write_text(first, encoding="utf-8", newline="")
    notes: list[str] = []
    found = list(read_json(path, Reading(notify=notes.append)))
    if not any("repeats" in note for note in notes):
        assert "".join(write_doccano(found, Losses())) == first
