"""The component of spaCy: in a pipeline with others, in batches and processes, saved and loaded again."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import constrained_ner
from constrained_ner import Mention, Sentence, Span
from constrained_ner.errors import UnknownOptionError

spacy = pytest.importorskip("spacy", reason="needs the extra spacy")
from spacy.language import Language  # noqa: E402
from spacy.tokens import Doc, DocBin  # noqa: E402

from constrained_ner.integrations.spacy import GROUP, ConstrainedNer  # noqa: E402

TEXT = "Ketoconazole raises midazolam levels. Beta-blockers may hide low blood sugar."


@pytest.fixture(scope="module")
def nlp() -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [{"label": "SYMPTOM", "pattern": "low blood sugar"}, {"label": "X", "pattern": "midazolam"}]
    )
    nlp.add_pipe("constrained_ner")
    return nlp


def names(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_it_works_beside_other_components_and_leaves_their_entities(nlp: Language) -> None:
    doc = nlp(TEXT)
    assert doc.text == TEXT
    found = {span.text: span for span in doc.spans[GROUP]}
    assert found["Ketoconazole"].label_ == "drug"
    assert found["midazolam"].label_ == "drug"  # though the ruler's stays the entity
    assert ("midazolam", "X") in names(doc)
    assert ("low blood sugar", "SYMPTOM") in names(doc)
    ent = next(ent for ent in doc.ents if ent.text == "Ketoconazole")
    assert 0.5 < ent._.confidence <= 1
    assert ent._.provenance == "constrained"
    assert ent._.offsets == [[0, 12]]
    assert doc._.n_inside_tokens == 0


def test_it_finds_what_the_annotator_finds() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("constrained_ner")
    document = constrained_ner.annotate_document(TEXT)
    expected = [(m.start, m.end, m.type) for _, m in document.located()]
    assert [(e.start_char, e.end_char, e.label_) for e in nlp(TEXT).ents] == expected
    assert len(expected) >= 3


def test_a_batch_is_in_order_and_equals_one_by_one(nlp: Language) -> None:
    texts = [TEXT, "", "Results", TEXT[::-1], "Warfarin and aspirin. " * 5]
    together = list(nlp.pipe(texts, batch_size=3))
    assert [doc.text for doc in together] == texts
    assert [names(doc) for doc in together] == [names(nlp(text)) for text in texts]


def test_several_processes_find_the_same(nlp: Language) -> None:
    texts = [TEXT, "Warfarin levels rose."] * 3
    nlp(TEXT)  # the parent has loaded its model: children must not use it
    found = list(nlp.pipe(texts, n_process=2, batch_size=2))
    assert [names(doc) for doc in found] == [names(doc) for doc in nlp.pipe(texts)]
    ent = next(ent for ent in found[0].ents if ent.text == "Ketoconazole")
    assert ent._.provenance == "constrained"


def test_settings_are_saved_and_weights_are_not(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("constrained_ner", config={"options": {"min_confidence": 0.99999}})
    assert not nlp(TEXT).ents
    nlp.to_disk(tmp_path / "pipeline")
    size = sum(file.stat().st_size for file in (tmp_path / "pipeline" / "constrained_ner").rglob("*"))
    assert size < 1000
    assert not spacy.load(tmp_path / "pipeline")(TEXT).ents
    fresh = spacy.blank("en")
    fresh.add_pipe("constrained_ner")
    assert fresh(TEXT).ents
    assert not fresh.from_bytes(nlp.to_bytes())(TEXT).ents
    component = pickle.loads(pickle.dumps(ConstrainedNer(options={"min_confidence": 0.5})))
    assert component.config == {"model": None, "options": {"min_confidence": 0.5}, "overwrite": False}


def test_documents_keep_what_is_known_of_their_names(nlp: Language) -> None:
    packed = DocBin(store_user_data=True, docs=[nlp(TEXT)]).to_bytes()
    (doc,) = DocBin(store_user_data=True).from_bytes(packed).get_docs(nlp.vocab)
    ent = next(ent for ent in doc.ents if ent.text == "Ketoconazole")
    assert ent._.confidence == pytest.approx(
        next(e for e in nlp(TEXT).ents if e.text == ent.text)._.confidence
    )


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(UnknownOptionError, match="min_confidense"):
        ConstrainedNer(options={"min_confidense": 0.5})


def test_names_inside_of_tokens_are_counted_and_told() -> None:
    text = "Preaspirins and iron."
    inside = Mention((Span(3, 10),), "drug", "aspirin", 0.9, "constrained")
    fits = Mention((Span(16, 20),), "drug_n", "iron", 0.8, "constrained")
    with pytest.warns(UserWarning, match="1 name begins or ends inside of a token"):
        doc = Sentence("0", text).with_mentions([inside, fits]).to_spacy(spacy.blank("en"))
    assert doc.text == text
    assert names(doc) == [("Preaspirins", "drug"), ("iron", "drug_n")]
    assert doc.ents[0]._.offsets == [[3, 10]]
    assert doc._.n_inside_tokens == 1


def test_mentions_that_overlap_or_have_gaps_are_all_in_the_group() -> None:
    text = "cough and cold drugs"
    gap = Mention((Span(0, 5), Span(15, 20)), "group", "cough drugs")
    whole = Mention((Span(10, 20),), "group", "cold drugs")
    doc = Sentence("0", text).with_mentions([gap, whole]).to_spacy(spacy.blank("en"))
    assert [span._.offsets for span in doc.spans[GROUP]] == [[[0, 5], [15, 20]], [[10, 20]]]
    assert names(doc) == [(text, "group")]


def test_spacy_finds_it_without_an_import() -> None:
    if not entry_points(group="spacy_factories", name="constrained_ner"):
        pytest.skip("constrained-ner is installed without its entry points: pip install -e .")
    code = "import spacy; nlp = spacy.blank('en'); nlp.add_pipe('constrained_ner'); print(nlp.pipe_names)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['constrained_ner']"
