"""The DDI corpus as it is written: escaped, with inclusive ends, and read back."""

from __future__ import annotations

from pathlib import Path

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.formats.ddi import read_ddi, write_ddi
from constrained_ner.formats.protocol import Losses


def test_ends_are_inclusive_ids_are_made_and_text_is_escaped() -> None:
    mentions = (
        Mention((Span(0, 5), Span(10, 14)), "group", "iron. zinc"),
        Mention((Span(10, 14),), "a|b", "zinc", 0.5),
    )
    sentence = Sentence("d|1.s0", 'iron.\n"<&>zinc', mentions)
    losses = Losses()
    assert "".join(write_ddi([Document("d", (sentence,))], losses)).splitlines()[1:] == [
        "<corpus>",
        '<document id="d">',
        '<sentence id="d_1.s0" text="iron.&#10;&quot;&lt;&amp;&gt;zinc">',
        '<entity id="d_1.s0.e0" charOffset="0-4;10-13" type="group" text="iron. zinc"/>',
        '<entity id="d_1.s0.e1" charOffset="10-13" type="a_b" text="zinc"/>',
        "</sentence>",
        "</document>",
        "</corpus>",
    ]
    assert losses.counts == {
        "sentence ids changed": 1,
        "types written with _ for characters that the format does not allow": 1,
        "confidences left out": 1,
    }


def test_the_parts_of_a_text_are_sentences_of_one_document(tmp_path: Path) -> None:
    parts = [Document.of_text("d", "Iron. "), Document.of_text("d", "Zinc.", start=6), Document("e")]
    losses = Losses()
    path = tmp_path / "x.xml"
    path.write_text("".join(write_ddi(parts, losses)), encoding="utf-8")
    (document,) = read_ddi(path)
    assert [(s.id, s.text) for s in document] == [("d", "Iron. "), ("d-2", "Zinc.")]
    assert losses.counts["running texts written as sentences, each with its own offsets"] == 2
    assert losses.counts["documents without sentences left out"] == 1


def test_a_whole_corpus_is_written_as_it_was_read(shared: Path, tmp_path: Path) -> None:
    documents = read_ddi(shared / "data" / "ddi" / "train.xml")
    path = tmp_path / "train.xml"
    path.write_text("".join(write_ddi(documents, Losses())), encoding="utf-8")
    assert read_ddi(path) == documents
