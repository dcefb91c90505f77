"""Greedy answers in the forms of others, by a model that is made from a function."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vocabularies import byte_level_vocabulary, byte_vocabulary

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.experiments.peers.forms import FORMS
from constrained_ner.experiments.peers.greedy import Asked
from constrained_ner.schema import DDI

MARKUP = Markup(DDI)
TEXT = "Iron helps, iron harms, aspirin does neither."
EXAMPLES = [Sentence("e", "Give gold.", (Mention((Span(5, 9),), "drug", "gold"),))]


class Writes:
    """A model of bytes that writes an answer whatever it is asked, and then ends."""

    def __init__(self, answer: str, after: str) -> None:
        self.answer = [*answer.encode(), 256]
        self.after = after.encode()

    def __call__(self, ids: tuple[int, ...]) -> NDArray[np.float32]:
        written = bytes(i for i in ids if i < 256).rpartition(self.after)[2]
        logits = np.zeros(257, dtype=np.float32)
        logits[self.answer[min(len(written), len(self.answer) - 1)]] = 1
        return logits


@pytest.mark.parametrize(
    ("form", "answer", "found"),
    [
        ("JSON of names", '[{"name": "aspirin", "type": "drug"}]', [(24, 31, "drug")]),
        ("JSON of names", '[{"name": "aspirin", "type": "drug"}, {"na', [(24, 31, "drug")]),
        (
            "JSON with occurrences",
            '[{"name": "iron", "type": "brand", "occurrence": 1}]',
            [(12, 16, "brand")],
        ),
        ("positions", '[{"start": 0, "end": 4, "type": "group"}]', [(0, 4, "group")]),
        ("free tags", "Iron helps <drug>aspirin</drug>", [(24, 31, "drug")]),
    ],
)
def test_what_the_model_writes_is_read_in_its_form(
    form: str, answer: str, found: list[tuple[int, int, str]]
) -> None:
    made = FORMS[form](MARKUP)
    label = made.prompt.usrprompt[-1]
    backend = FakeBackend(byte_vocabulary(), Writes(" " + answer, f"{TEXT}\n{label}"))
    (answered,) = Asked(backend, made, EXAMPLES).answers([Sentence("s1", TEXT)])
    assert answered.answer == answer
    assert [(m.start, m.end, m.type) for m in answered.sentence.mentions] == found
    assert answered.sentence.id == "s1"
    assert answered.n_passes == len(answer) + 2  # its bytes, the blank before them, and the end


def test_an_answer_without_an_end_is_cut_off() -> None:
    backend = FakeBackend(byte_vocabulary(), Writes("x" * 10_000, f"{TEXT}\nNames:"))
    (answered,) = Asked(backend, FORMS["JSON of names"](MARKUP), EXAMPLES).answers([Sentence("s1", TEXT)])
    assert answered.n_passes == 64 + 3 * len(TEXT)
    assert answered.reading.broken


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([TEXT, "x", 'quotes " and \\ in iron', "β-blockers 💊"]))
def test_under_the_grammar_every_name_is_in_the_sentence(seed: int, text: str) -> None:
    pytest.importorskip("llguidance")
    vocabulary = byte_level_vocabulary()
    backend = FakeBackend(vocabulary, seeded_score(len(vocabulary.token_bytes), seed=seed))
    asked = Asked(backend, FORMS["JSON of names"](MARKUP), EXAMPLES, constrained=True)
    (answered,) = asked.answers([Sentence("s1", text)])
    assert (answered.reading.n_absent, answered.reading.n_unknown) == (0, 0)
    if not answered.reading.broken:
        assert isinstance(json.loads(answered.answer), list)


def test_a_form_without_a_grammar_says_so() -> None:
    backend = FakeBackend(byte_vocabulary())
    with pytest.raises(ValueError, match="no grammar"):
        Asked(backend, FORMS["positions"](MARKUP), EXAMPLES, constrained=True)


def test_each_sentence_is_answered_by_itself() -> None:
    vocabulary = byte_level_vocabulary()

    def answers(texts: Sequence[str]) -> list[str]:
        backend = FakeBackend(vocabulary, seeded_score(len(vocabulary.token_bytes), n_context=50))
        asked = Asked(backend, FORMS["free tags"](MARKUP), EXAMPLES)
        return [answered.answer for answered in asked.answers([Sentence("", text) for text in texts])]

    assert answers([TEXT, "Give gold."]) == answers([TEXT]) + answers(["Give gold."])
