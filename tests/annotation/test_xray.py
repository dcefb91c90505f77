"""The X-ray of the bundled model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from constrained_ner import Annotator
from constrained_ner.errors import SentenceError
from constrained_ner.formats.ddi import read_ddi

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"


@pytest.fixture(scope="module")
def ner() -> Iterator[Annotator]:
    with Annotator.load() as annotator:
        yield annotator


def test_an_xray_shows_the_annotation_and_changes_nothing(ner: Annotator) -> None:
    text = "Ketoconazole raises midazolam levels."
    before = ner.annotate(text)
    seen = ner.xray(text)
    assert seen.answer == "<drug>Ketoconazole</drug> raises <drug>midazolam</drug> levels."
    assert [(m.start, m.end, m.type) for m in seen.mentions] == [
        (m.start, m.end, m.type) for m in before.mentions
    ]
    assert ner.annotate(text) == before
    opened = [d for d in seen.decisions if d.written.does == "open"]
    assert [d.written.text.strip() for d in opened] == ["<drug>", "<drug>"]
    assert [d.at for d in opened] == [0, 32]
    assert len(seen.passes) >= 2
    assert {d.number for d in seen.decisions} - {None} <= set(range(1, len(seen.passes) + 1))


def test_shares_of_a_decision_add_up(ner: Annotator) -> None:
    for decision in ner.xray("Aspirin and HIV protease inhibitors.").decisions:
        shown = [decision.written, *decision.others]
        assert all(0 <= c.probability <= c.share <= 1 + 1e-9 for c in shown if c.share is not None)
        if len(shown) == decision.n_legal:
            assert sum(c.share for c in shown if c.share is not None) == pytest.approx(1, abs=1e-6)
            assert sum(c.probability for c in shown) == pytest.approx(decision.legal_mass, abs=1e-6)


def test_what_is_overruled_is_likelier_than_what_was_legal(ner: Annotator) -> None:
    texts = [s.text for document in read_ddi(SAMPLE) for s in document if 0 < len(s.text) < 90][:12]
    overruled = [d for text in texts for d in ner.xray(text).decisions if d.wanted is not None]
    assert overruled, "the sample has none: take other sentences"
    for decision in overruled:
        assert decision.wanted is not None
        assert decision.wanted.probability <= 1 - decision.legal_mass + 1e-3
        assert decision.wanted.probability > decision.written.probability - 1e-3


def test_a_token_that_the_grammar_forced_is_shown_where_the_model_wanted_another(ner: Annotator) -> None:
    """Without the grammar the model makes another drug of etravirine, where nothing else was legal."""
    seen = ner.xray("Efavirenz (EFV) 600 mg q.d. lowered etravirine (ETR) AUC by 41%.")
    assert ("lost", "avirine") in seen.free.edits
    forced = [d for d in seen.decisions if d.number is None]
    assert "travirine" in {seen.answer[d.at - 1 :][:9] for d in forced}
    for d in forced:
        assert (d.n_legal, d.others, d.written.share) == (1, (), 1)
        assert d.wanted is not None
        assert d.wanted.probability > d.written.probability
    assert [d.at for d in seen.decisions] == sorted(d.at for d in seen.decisions)


def test_what_free_writing_changes_is_told_to_the_character(ner: Annotator) -> None:
    texts = [s.text for document in read_ddi(SAMPLE) for s in document if 0 < len(s.text) < 90][:6]
    for text in texts:
        seen = ner.xray(text)
        kept = "".join(part for kind, part in seen.free.edits if kind in ("same", "lost"))
        assert kept == seen.text
        assert seen.free.verbatim == all(kind == "same" for kind, _ in seen.free.edits)


def test_a_text_beyond_one_window_is_refused(ner: Annotator) -> None:
    with pytest.raises(SentenceError, match="too long"):
        ner.xray("Aspirin and iron. " * 2000)
