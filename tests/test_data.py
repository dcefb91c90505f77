"""What sentences and documents can be turned into."""

from __future__ import annotations

import json
import sys

import pytest

from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import MissingExtraError

ASPIRIN = Mention((Span(5, 12),), "drug", "aspirin", 0.97123456, "constrained")
GAP = Mention((Span(0, 5), Span(10, 15)), "group", "cough drugs", None, "fuzzy", 0.9)


def test_a_repr_says_what_there_is() -> None:
    sentence = Sentence("0", "Take aspirin.", (ASPIRIN,))
    assert repr(ASPIRIN) == "<Mention 5-12 'aspirin' drug 0.97 constrained>"
    assert repr(GAP) == "<Mention 0-5;10-15 'cough drugs' group fuzzy>"
    assert repr(sentence) == "<Sentence '0' 'Take aspirin.' 1 mention: aspirin (drug 0.97)>"
    assert repr(Sentence("1", "x" * 100)) == f"<Sentence '1' '{'x' * 59}…' no mentions>"
    document = Document("d", (sentence, Sentence("1", "Rest.")), "Take aspirin. Rest.")
    assert repr(document) == "<Document 'd' of 2 sentences, 1 mention: aspirin (drug 0.97)>"


def test_json_has_all_that_is_known_and_characters_as_they_are() -> None:
    sentence = Sentence("0", "Také aspirin.", (ASPIRIN,), failure=None)
    assert sentence.to_dict() == {
        "id": "0",
        "text": "Také aspirin.",
        "mentions": [
            {
                "start": 5,
                "end": 12,
                "text": "aspirin",
                "type": "drug",
                "confidence": 0.971235,
                "provenance": "constrained",
            }
        ],
    }
    assert "Také" in sentence.to_json()
    assert json.loads(sentence.to_json(indent=2)) == sentence.to_dict()
    assert GAP.to_dict()["spans"] == [[0, 5], [10, 15]]
    assert Sentence("0", "x", failure="too long").to_dict()["failure"] == "too long"


def test_offsets_of_a_running_text_count_in_it() -> None:
    document = Document(
        "d",
        (Sentence("d.s0", "Rest."), Sentence("d.s1", "Take aspirin.", (ASPIRIN,), start=6)),
        "Rest. Take aspirin.",
    )
    (mention,) = document.to_dict()["mentions"]
    assert document.to_dict()["text"][mention["start"] : mention["end"]] == "aspirin"
    frame = document.to_dataframe()
    assert frame.loc[0].to_dict() == {
        "id": "d",
        "start": 11,
        "end": 18,
        "text": "aspirin",
        "type": "drug",
        "confidence": ASPIRIN.confidence,
        "provenance": "constrained",
    }
    apart = Document("d", document.sentences).to_dict()
    assert [sentence["id"] for sentence in apart["sentences"]] == ["d.s0", "d.s1"]


def test_without_mentions_a_frame_has_its_columns() -> None:
    assert list(Sentence("0", "x").to_dataframe().columns)[:3] == ["id", "start", "end"]


def test_without_pandas_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        Sentence("0", "x").to_dataframe()


def test_many_texts_are_cut_short_in_a_notebook_and_a_failure_says_why() -> None:
    sentences = (
        Sentence("0", "a", failure="<b>too long</b>"),
        *(Sentence(str(n), "x") for n in range(1, 301)),
    )
    html = Document("d", sentences)._repr_html_()
    assert html.count('<p class="names"') == 200
    assert "101 more" in html
    assert "&lt;b&gt;too long&lt;/b&gt;" in html
