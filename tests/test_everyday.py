"""The development set of everyday text: well formed, varied, and from no corpus."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Sentence, covered_text
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI

EVERYDAY = Path(__file__).parents[1] / "examples" / "everyday.xml"


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return [s for document in read_ddi(EVERYDAY) for s in document]


def test_every_name_stands_at_its_offsets_and_can_be_tagged(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        for mention in sentence.mentions:
            assert covered_text(sentence.text, mention.spans) == mention.text, sentence.id
            assert mention.text == mention.text.strip()
        kept, refused = Markup(DDI).expressible(sentence)
        assert (len(kept), refused) == (len(sentence.mentions), ())


def test_it_is_a_hundred_sentences_of_four_kinds_with_all_types(sentences: list[Sentence]) -> None:
    assert len(sentences) == 100
    assert len({s.text for s in sentences}) == 100
    kinds = Counter(s.id.split(".")[0] for s in sentences)
    assert set(kinds) == {"everyday-note", "everyday-label", "everyday-abstract", "everyday-leaflet"}
    assert min(kinds.values()) >= 15
    types = Counter(m.type for s in sentences for m in s.mentions)
    assert set(types) == set(DDI.type_names)
    assert min(types.values()) >= 10


def test_it_has_what_is_hard(sentences: list[Sentence]) -> None:
    assert sum(not s.mentions for s in sentences) >= 8
    assert any(s.text.isupper() and s.mentions for s in sentences)
    assert any(len(s.mentions) >= 4 for s in sentences)
    text = "\n".join(s.text for s in sentences)
    for piece in (
        "CYP3A4",
        " mg",
        " x 3 mo",
        "<90",
        "µM",
        "grapefruit",
        "Today",
        "relief",
        "MRSA",
        "-resistant",
    ):
        assert piece in text, piece


def test_no_sentence_is_from_a_corpus(sentences: list[Sentence], shared: Path) -> None:
    known = {
        s.text.strip().lower()
        for split in ("train", "devel")
        for document in read_ddi(shared / f"data/ddi/{split}.xml")
        for s in document
    }
    assert not {s.text.lower() for s in sentences} & known
