"""Documents of passages, unique ids, parts of one text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.formats.passages import (
    DocumentIds,
    Passage,
    document_of,
    joined_parts,
    kept_mark,
    with_texts,
)

IRON = Mention((Span(5, 9),), "drug", "iron")


def test_mentions_are_in_their_passages() -> None:
    document = document_of("d", "No. \niron", [Passage(0, "No."), Passage(5, "iron")], [IRON])
    assert [(s.start, s.mentions) for s in document] == [(0, ()), (5, (IRON.moved(-5),))]
    assert list(document.located()) == [("d", IRON)]


def test_a_mention_across_passages_makes_them_one() -> None:
    across = Mention((Span(2, 7),), "drug", ". \nir")
    document = document_of("d", "No. \niron", [Passage(0, "No."), Passage(5, "iron")], [IRON, across])
    assert [s.text for s in document] == ["No. \niron"]
    assert list(document.located()) == [("d", across), ("d", IRON)]


def test_sentences_without_a_text_become_lines_of_one() -> None:
    sentences = (Sentence("a", "No."), Sentence("b", " iron", (IRON.moved(-4),)))
    [document] = with_texts([Document("d", sentences)])
    assert document.text == "No.\n iron"
    assert list(document.located()) == [("d", IRON)]


def test_a_later_part_without_a_text_goes_on_in_the_next_line() -> None:
    parts = [
        Document("d", (Sentence("a", "No."), Sentence("b", "No."))),
        Document("d", (Sentence("c", "iron", (IRON.moved(-5),)),), continues=True),
        Document("d", (Sentence("a", "zinc"),)),
    ]
    first, second, other = with_texts(parts)
    assert (first.text, second.text, second.start, other.text, other.start) == (
        "No.\nNo.",
        "\niron",
        7,
        "zinc",
        0,
    )
    [(_, mention)] = second.located()
    assert ((first.text or "") + (second.text or ""))[mention.start : mention.end] == "iron"
    assert [d.text for d in joined_parts(with_texts(parts))] == ["No.\nNo.\niron", "zinc"]
    assert list(joined_parts(parts)) == parts


def test_parts_are_joined_with_those_of_their_document_only() -> None:
    parts = [
        Document.of_text("a", "No. \n"),
        Document.of_text("a", "iron", [IRON.moved(-5)], start=5),
        Document.of_text("a", "other"),
    ]
    first, second = joined_parts(parts)
    assert (first.text, first.start, list(first.located())) == ("No. \niron", 0, [("a", IRON)])
    assert second.text == "other"


@given(st.lists(st.sampled_from(["", "a", "a-2", "a-2-2", "a-3", "b"]), max_size=9))
def test_every_document_has_its_own_id(ids: list[str]) -> None:
    told: list[str] = []
    unique = DocumentIds(Path("x/a.xml"))
    given = [unique.unique(id) for id in ids]
    unique.tell(told.append)
    assert len(set(given)) == len(ids)
    assert bool(told) == (given != [id or "a" for id in ids])


@given(st.lists(st.text("\ufeffab", max_size=3)))
def test_a_text_is_read_as_it_was_written(pieces: list[str]) -> None:
    written = "".join(kept_mark(pieces)).encode()
    assert written.decode("utf-8-sig") == "".join(pieces)
