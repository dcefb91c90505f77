from collections import Counter
from pathlib import Path

import pytest

from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Sentence, covered_text
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI

SAMPLE = Path(__file__).parents[1] / "examples" / "sample.xml"


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return [s for document in read_ddi(SAMPLE) for s in document]


def test_every_name_stands_at_its_offsets(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        for mention in sentence.mentions:
            assert covered_text(sentence.text, mention.spans) == mention.text


def test_every_mention_but_the_discontinuous_one_can_be_tagged(sentences: list[Sentence]) -> None:
    refused = [r for s in sentences for r in Markup(DDI).expressible(s)[1]]
    assert [(r.mention.text, r.reason) for r in refused] == [("Thiazide diuretics", "discontinuous")]


def test_mentions_do_not_overlap(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        ends = [m.end for m in sentence.mentions if not m.discontinuous]
        starts = [m.start for m in sentence.mentions if not m.discontinuous]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_it_covers_what_goes_wrong_elsewhere(sentences: list[Sentence]) -> None:
    texts = [s.text for s in sentences]
    assert 38 <= len(sentences) <= 44
    assert {m.type for s in sentences for m in s.mentions} == set(DDI.type_names)
    assert "" in texts
    assert any(t.endswith(" ") for t in texts)
    assert any(t.startswith(" ") for t in texts)
    assert any("\n" in t for t in texts)
    assert any("<drug>" in t for t in texts)
    assert sum(not s.mentions for s in sentences) >= 4
    assert any(max(Counter(m.text for m in s.mentions).values(), default=0) >= 3 for s in sentences)
    for piece in "µéα🙂-()|&\t":
        assert any(piece in t for t in texts), piece


def test_no_sentence_is_from_a_corpus(sentences: list[Sentence], shared: Path) -> None:
    known = {
        s.text.strip().lower()
        for split in ("train", "devel")
        for document in read_ddi(shared / f"data/ddi/{split}.xml")
        for s in document
    }
    own = {s.text.strip().lower() for s in sentences if len(s.text.split()) > 4}
    assert not own & known
