"""Values that a fuzz of the readers found to break them, each for its kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span, disjoint
from constrained_ner.errors import InputError
from constrained_ner.formats import FORMATS
from constrained_ner.formats.documents import read_found
from constrained_ner.formats.evaluator_lines import parse_offsets
from constrained_ner.formats.protocol import UNTYPED, Losses, Reading
from constrained_ner.formats.tables import MENTION_COLUMNS

Read = Callable[[str, Path], tuple[list[Document], list[str]]]


def written(name: str, *documents: Document) -> tuple[str, Losses]:
    losses = Losses()
    write = FORMATS[name].write
    assert write is not None
    return "".join(write(documents, losses)), losses


def test_pieces_that_overlap_are_one(tmp_path: Path, read: Read) -> None:
    assert disjoint([Span(5, 9), Span(0, 3), Span(2, 4), Span(2, 3)]) == (Span(0, 4), Span(5, 9))
    assert parse_offsets("2-3;0-2;5-8") == (Span(0, 4), Span(5, 9))
    path = tmp_path / "a.txt"
    path.write_text("iron tablets")
    (tmp_path / "a.ann").write_text("T1\tdrug 0 4;0 4\tiron\n")
    [document], _ = read("brat", path)
    assert [m.spans for m in document.sentences[0].mentions] == [(Span(0, 4),)]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_table_may_have_any_line_end_and_keeps_those_in_its_cells(
    tmp_path: Path, read: Read, end: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'id,text{end}1,iron{end}2,"zinc{end}oxide"{end}'.encode())
    documents, _ = read("csv", path)
    assert [(d.id, d.text) for d in documents] == [("1", "iron"), ("2", f"zinc{end}oxide")]


def test_a_table_of_mentions_may_have_a_name_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    name = "iron " * 40_000
    text, _ = written("csv", Document.of_text("d", name, [Mention((Span(0, len(name)),), "drug", name)]))
    path.write_text(text)
    [(_, mention)] = read_found(path, format="csv")
    assert mention.text == name


@pytest.mark.parametrize("confidence", ["nan", "inf", "-0.1", "1.1", "x" * 1000])
def test_a_confidence_in_a_table_is_a_probability(tmp_path: Path, confidence: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{','.join(MENTION_COLUMNS)}\nd,0,4,iron,drug,{confidence}\n")
    with pytest.raises(InputError, match=r"a\.csv: line 2: not a mention: .*") as caught:
        read_found(path, format="csv")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["bioc-json", "jsonl"])
@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_a_number_too_long_and_nesting_too_deep_are_not_json(
    tmp_path: Path, read: Read, name: str, value: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'{{"documents": [{{"id": {value}}}]}}')
    with pytest.raises(InputError, match=r"a\.json: (line|record) 1: not JSON: ") as caught:
        read(name, path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("field", ["id", "text", "type", "name"])
@pytest.mark.parametrize("name", ["bioc-json", "jsonl"])
def test_a_record_with_half_a_character_is_reported_and_the_others_are_read(
    tmp_path: Path, read: Read, name: str, field: str
) -> None:
    def record(values: dict[str, str]) -> dict[str, object]:
        mention = {"start": 0, "end": 4, "type": values["type"], "text": values["name"]}
        if name == "jsonl":
            return {"id": values["id"], "text": values["text"], "mentions": [mention]}
        annotation = {
            "infons": {"type": values["type"]},
            "text": values["name"],
            "locations": [{"offset": 0, "length": 4}],
        }
        passage = {"offset": 0, "text": values["text"], "annotations": [annotation]}
        return {"id": values["id"], "passages": [passage]}

    good = {"id": "1", "text": "iron", "type": "drug", "name": "iron"}
    path = tmp_path / "a.json"
    path.write_text("".join(f"{json.dumps(record(v))}\n" for v in [good, {**good, field: "iron\ud83d"}]))
    documents, told = read(name, path)
    assert [d.id for d in documents] == ["1"]
    assert [message for message in told if "half a character (a lone surrogate) in" in message]


@pytest.mark.parametrize("answers", [1, "x", {"result": []}, [None], [[]], None, True])
def test_answers_of_label_studio_that_are_no_list_of_answers_are_none(
    tmp_path: Path, read: Read, answers: object
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"data": {"text": "iron"}, "annotations": answers, "predictions": answers}))
    [document], _ = read("jsonl", path)
    assert (document.text, document.sentences[0].mentions) == ("iron", ())


@pytest.mark.parametrize("type", ["", " ", "\t", None])
def test_a_type_of_blanks_is_none(tmp_path: Path, read: Read, type: str | None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "iron", "mentions": [{"start": 0, "end": 4, "type": type}]}))
    [document], told = read("jsonl", path)
    assert [m.type for m in document.sentences[0].mentions] == [UNTYPED]
    assert any("have no type" in message for message in told)


def test_a_tag_of_any_length_is_shown_in_short(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "a.inline"
    path.write_text(f"iron</{'d' * 5000}>\n")
    with pytest.raises(
        InputError, match=r"a\.inline: line 1: </d+> closes nothing: no tag is open"
    ) as caught:
        read("inline", path)
    assert len(str(caught.value)) < 400


def test_a_name_that_would_move_the_end_is_written_as_the_text_spells_it(tmp_path: Path, read: Read) -> None:
    """A name one character short would make readers take the ends of the DDI corpus for exclusive ones."""
    sentence = Sentence("s", "Iron and zinc.").with_mentions([Mention((Span(9, 14),), "drug", "zinc")])
    text, losses = written("ddi", Document("d", (sentence,)))
    path = tmp_path / "a.xml"
    path.write_text(text)
    [document], _ = read("ddi", path)
    assert [(m.spans, m.text) for m in document.sentences[0].mentions] == [((Span(9, 14),), "zinc.")]
    assert sum(losses.counts.values()) == 1


def test_conll_counts_documents_without_sentences(tmp_path: Path, read: Read) -> None:
    text, losses = written("conll", Document("a"), Document("b", (Sentence("b.s0", "Iron."),)))
    path = tmp_path / "a.conll"
    path.write_text(text)
    documents = list(FORMATS["conll"].read(path, Reading(notify=lambda _: None)))  # type: ignore[misc]
    assert [d.id for d in documents] == ["b"]
    assert losses.counts["documents without sentences left out"] == 1


def test_brat_writes_the_words_of_the_text_so_that_they_fit_it() -> None:
    losses = Losses()
    mentions = [Mention((Span(0, 4),), "drug", "zinc"), Mention((Span(5, 9),), "drug", "more")]
    write = FORMATS["brat"].write_folder
    assert write is not None
    files = dict(write([Document.of_text("d", "Iron zinc", mentions)], losses))
    assert files["d.ann"] == "T1\tdrug 0 4\tIron\nT2\tdrug 5 9\tzinc\n"
    assert losses.counts["names written as the text spells them"] == 2
