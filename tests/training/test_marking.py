"""A teacher's marks are what it really thought on the way to its own answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from vocabularies import byte_level_vocabulary, byte_vocabulary, tag_token_vocabulary

from constrained_ner import Annotator, Mention, Sentence, Span
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.errors import InputError
from constrained_ner.training.bundled_model.marking import Marker, marked_by
from constrained_ner.training.bundled_model.marks import Marks
from constrained_ner.vocabulary import Vocabulary

TEMPLATE = "{{ messages[-1]['content'] }}|"
TEXTS = ["Take aspirin.", "beta-blockers (e.g. 5-HT3) and naïve x", "a <drug> b", "", "aspirin  aspirin"]


def teacher(vocabulary: Vocabulary, seed: int, **options: int) -> Annotator:
    backend = FakeBackend(
        vocabulary, seeded_score(len(vocabulary), seed=seed, scale=6.0), chat_template=TEMPLATE, **options
    )
    return Annotator(backend, min_confidence=0.0, force=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([byte_vocabulary, byte_level_vocabulary, tag_token_vocabulary]))
def test_the_marks_are_those_of_the_answer_that_decoding_gives(seed: int, vocabulary: object) -> None:
    ner = teacher(vocabulary(), seed)  # type: ignore[operator]
    sentences = [Sentence(str(n), text) for n, text in enumerate(TEXTS)]
    marked = list(Marker(ner).mark(sentences))
    found = [annotated.sentence for annotated in ner.run(sentences)]
    assert [m.sentence.id for m in marked] == [s.id for s in sentences]
    for marks, sentence in zip(marked, found, strict=True):
        assert marks.agreed or "<" in sentence.text
        assert [(m.spans, m.type) for m in marks.sentence.mentions] == [
            (m.spans, m.type) for m in sentence.mentions
        ]
        if not marks.agreed:
            continue
        assert set(marks.types) == {m.start for m in marks.sentence.mentions}
        for types in marks.types.values():
            assert sum(types.values()) == pytest.approx(1.0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_marks_give_the_answer_its_probability(seed: int) -> None:
    """With a token per byte, each place has one chance; so the chain rule holds exactly."""
    vocabulary = byte_vocabulary()
    ner = teacher(vocabulary, seed)
    for text in ("Take aspirin.", "5-HT3 (x)"):
        (marks,) = Marker(ner).mark([Sentence("s", text)])
        (annotated,) = ner.run([Sentence("s", text)])
        for mention in annotated.sentence.mentions:  # to open, the type, to go on, to close
            p = marks.opens[mention.start] * marks.types[mention.start][mention.type]
            for place, closes in marks.closes.items():
                if mention.start < place <= mention.end:
                    p *= closes if place == mention.end else 1 - closes
            assert mention.confidence is not None
            assert p == pytest.approx(mention.confidence, rel=1e-4)


def test_drafts_change_nothing() -> None:
    ner = teacher(tag_token_vocabulary(), 3)
    plain = Sentence("s", "Take aspirin.")
    drafted = plain.with_mentions([Mention((Span(5, 12),), "drug", "aspirin")])
    assert [m.to_json() for m in Marker(ner).mark([plain])] == [
        m.to_json() for m in Marker(ner).mark([drafted])
    ]


def test_a_sentence_that_is_too_long_teaches_nothing() -> None:
    ner = teacher(byte_vocabulary(), 0, context_length=60)
    long, short = Marker(ner).mark([Sentence("l", "aspirin " * 10), Sentence("s", "aspirin")])
    assert not long.agreed
    assert short.agreed


def test_a_stopped_marking_goes_on(tmp_path: Path) -> None:
    ner = teacher(tag_token_vocabulary(), 1)
    tagged = [Sentence(f"s{n}", f"Take aspirin {n}.") for n in range(6)]
    path = tmp_path / "marks.jsonl"

    def mark(n: int = 5) -> list[Marks]:
        return marked_by(ner, tagged, n, path, np.random.default_rng(0))

    whole = mark()
    content = path.read_bytes()
    assert len(whole) == content.count(b"\n") == 5
    path.write_bytes(content[: len(content) // 2])
    assert mark() == whole
    assert path.read_bytes() == content
    with pytest.raises(InputError, match=r"marks\.jsonl: line 1: marks of another choice of sentences"):
        marked_by(ner, tagged[:3], 3, path, np.random.default_rng(5))
    path.write_bytes(b"{}\n")
    with pytest.raises(InputError, match=r"marks\.jsonl: line 1: not a teacher's marks"):
        mark()
