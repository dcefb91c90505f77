"""A whole file through the annotator with a fake model: nothing lost, nothing half-written, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vocabularies import tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator, DecoderName
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.data import Mention, Sentence
from constrained_ner.errors import InputError, OutputError, SentenceError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import read_predictions
from constrained_ner.formats.mentions import mentions_path, read_mentions
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.record import RunRecord, record_path

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"


def annotator(
    *, decoder: DecoderName = "copy-draft", context_length: int = 2048, backend: FakeBackend | None = None
) -> Annotator:
    vocabulary = tag_token_vocabulary()
    backend = backend or FakeBackend(
        vocabulary,
        seeded_score(len(vocabulary), scale=3.0),
        context_length=context_length,
        chat_template=TEMPLATE,
    )
    return Annotator(backend, decoder=decoder)


class DyingBackend(FakeBackend):
    """Stops with an exception at the n-th forward pass."""

    def __init__(self, n_passes: int, error: BaseException) -> None:
        vocabulary = tag_token_vocabulary()
        super().__init__(
            vocabulary,
            seeded_score(len(vocabulary), scale=3.0),
            context_length=2048,
            chat_template=TEMPLATE,
        )
        self.n_left, self.error = n_passes, error

    def forward(self, steps: list[Step]) -> list[list[Scores | None]]:  # type: ignore[override]
        self.n_left -= 1
        if self.n_left < 0:
            raise self.error
        return super().forward(steps)


def test_every_line_is_true_of_its_sentence_and_in_order(tmp_path: Path) -> None:
    record = annotate_file(SAMPLE, tmp_path / "out", annotator, consistency=False)
    sentences = {sentence.id: sentence for document in read_ddi(SAMPLE) for sentence in document}
    order = list(sentences)
    lines = read_predictions(tmp_path / "out")
    assert len(lines) == record.n_mentions > 40
    places = [(order.index(sentence_id), mention.start) for sentence_id, mention in lines]
    assert places == sorted(places)
    for sentence_id, mention in lines:
        assert sentences[sentence_id].text[mention.start : mention.end] == mention.text
    assert record.n_mentions_by_provenance == {"constrained": record.n_mentions}
    assert RunRecord.load(record_path(tmp_path / "out")) == record


def test_names_are_made_consistent_within_each_document_alone(tmp_path: Path) -> None:
    annotate_file(SAMPLE, tmp_path / "alone", annotator, consistency=False)
    record = annotate_file(SAMPLE, tmp_path / "out", annotator)
    ner = annotator()
    expected: list[tuple[str, Mention]] = []
    for document in read_ddi(SAMPLE):
        agreed = ner.annotate_document(sentence.text for sentence in document)
        expected += [(s.id, m) for s, found in zip(document, agreed, strict=True) for m in found.mentions]
    found = read_mentions(mentions_path(tmp_path / "out"))
    assert [(name, m.spans, m.type, m.provenance) for name, m in found] == [
        (name, m.spans, m.type, m.provenance) for name, m in expected
    ]
    assert record.n_mentions == len(found) == len(read_predictions(tmp_path / "out"))
    n_alone = len(read_predictions(tmp_path / "alone"))
    assert record.effort["n_doubtful"] == n_alone - record.n_mentions_by_provenance["constrained"] > 0


def test_names_are_marked_where_they_were_missed_but_not_where_nothing_could_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Annotator._annotate_window

    def find_or_fail(self: Annotator, text: str, question: str) -> Any:
        if "broken" in text:
            raise SentenceError("it cannot be annotated")
        return find(self, text, question)

    monkeypatch.setattr(Annotator, "_annotate_window", find_or_fail)
    source = tmp_path / "in.xml"
    texts = ("Take aspirin.", "A broken aspirin.", "More aspirin.", "", "Aspirin.")
    sentences = "".join(f'<sentence id="d.s{n}" text="{text}"/>' for n, text in enumerate(texts))
    source.write_text(f'<document id="d">{sentences}</document>')
    model = perfect_copy_but({b"More <drug>aspirin</drug>": b"More aspirin"})
    record = annotate_file(source, tmp_path / "out", lambda: Annotator(model, rule="any"))
    assert [sentence_id for sentence_id, _ in record.failures] == ["d.s1"]
    found = read_mentions(mentions_path(tmp_path / "out"))
    assert [(sentence_id, m.text, m.provenance) for sentence_id, m in found] == [
        ("d.s0", "aspirin", "constrained"),
        ("d.s2", "aspirin", "repeated"),
        ("d.s4", "Aspirin", "repeated"),
    ]
    with pytest.raises(SentenceError, match="sentence 1: it cannot be annotated"):
        Annotator(model, rule="any").annotate_document(texts)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        annotate_file(SAMPLE, tmp_path / name, annotator)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_stepwise_and_copy_draft_write_the_same_file(tmp_path: Path) -> None:
    annotate_file(SAMPLE, tmp_path / "a", annotator)
    annotate_file(SAMPLE, tmp_path / "b", lambda: annotator(decoder="stepwise"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("n_passes", [0, 1, 7, 40])
def test_a_killed_run_resumes_with_the_same_bytes(tmp_path: Path, n_passes: int) -> None:
    annotate_file(SAMPLE, tmp_path / "whole", annotator)
    out = tmp_path / "out"
    out.write_text("an older result\n")
    with pytest.raises(KeyboardInterrupt):
        annotate_file(SAMPLE, out, lambda: annotator(backend=DyingBackend(n_passes, KeyboardInterrupt())))
    assert out.read_text() == "an older result\n"
    record = annotate_file(SAMPLE, out, annotator)
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
    assert (record.n_resumed > 0) == (n_passes == 40)
    assert mentions_path(out).read_bytes() == mentions_path(tmp_path / "whole").read_bytes()
    beside = {f"{name}{end}" for name in ("whole", "out") for end in ("", ".run.json", ".mentions.jsonl")}
    assert {path.name for path in tmp_path.iterdir()} == beside


def test_other_options_do_not_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        annotate_file(
            SAMPLE, tmp_path / "out", lambda: annotator(backend=DyingBackend(40, KeyboardInterrupt()))
        )
    record = annotate_file(SAMPLE, tmp_path / "out", lambda: annotator(decoder="unconstrained"))
    assert record.n_resumed == 0


def test_a_long_sentence_is_split_and_comes_back_whole(tmp_path: Path) -> None:
    words = " ".join(f"word{n} aspirin" for n in range(60))
    sentence = annotator(context_length=160).annotate(words)
    assert sentence.text == words
    assert max(mention.end for mention in sentence.mentions) > 700
    for mention in sentence.mentions:
        assert words[mention.start : mention.end] == mention.text


def test_a_sentence_that_cannot_be_annotated_is_reported_and_the_run_goes_on(tmp_path: Path) -> None:
    sentences = [sentence for document in read_ddi(SAMPLE) for sentence in document]
    broken = replace(sentences[1], text="a lone \ud800 surrogate")
    results = list(annotator().run([sentences[0], broken, *sentences[2:]]))
    assert [result.sentence.id for result in results] == [sentence.id for sentence in sentences]
    assert [n for n, result in enumerate(results) if result.failure] == [1]
    assert "lone surrogate" in str(results[1].failure)


def test_one_character_that_does_not_fit_the_context_is_a_failure() -> None:
    ner = annotator(context_length=64)
    ner._room = 1
    (result,) = ner.run([Sentence("s", "aspirin and iron")])
    assert "do not fit" in str(result.failure)
    with pytest.raises(SentenceError, match="do not fit"):
        ner.annotate("aspirin and iron")


def test_an_unconstrained_run_says_where_its_offsets_come_from(tmp_path: Path) -> None:
    record = annotate_file(SAMPLE, tmp_path / "out", lambda: annotator(decoder="unconstrained"))
    assert set(record.n_mentions_by_provenance) <= {"exact", "normalised", "fuzzy"}
    assert record.effort["n_unfinished"] > 0
    assert any("unfinished" in problem for _, problem in record.problems)


def perfect_copy_but(replacements: dict[bytes, bytes]) -> FakeBackend:
    """A model that copies its prompt with a tag around aspirin, and with replacements."""
    vocabulary = tag_token_vocabulary()

    def score(ids: tuple[int, ...]) -> np.ndarray:
        separator = ids.index(min(vocabulary.stop_ids))
        text = vocabulary.decode(ids[:separator])
        answer = text.replace(b"aspirin", b"<drug>aspirin</drug>")
        for old, new in replacements.items():
            answer = answer.replace(old, new)
        done = vocabulary.decode(ids[separator + 1 :])
        row = np.zeros(len(vocabulary), dtype=np.float32)
        if answer.startswith(done) and len(done) < len(answer):
            rest = answer[len(done) :].decode()
            row[vocabulary.encode(rest)[0]] = 9.0
        else:
            row[min(vocabulary.stop_ids)] = 9.0
        return row

    return FakeBackend(vocabulary, score, context_length=2048, chat_template=TEMPLATE)


@pytest.mark.parametrize(
    ("replacements", "provenance"),
    [({}, "exact"), ({b"on ": b"upon "}, "exact"), ({b"aspirin": b"Aspirin"}, "normalised")],
)
def test_free_answers_are_aligned_and_marked(replacements: dict[bytes, bytes], provenance: str) -> None:
    ner = annotator(decoder="unconstrained", backend=perfect_copy_but(replacements))
    mentions = ner.annotate("Patients on aspirin bled.").mentions
    assert [(m.start, m.end, m.text, m.type, m.provenance) for m in mentions] == [
        (12, 19, "aspirin", "drug", provenance)
    ]


def test_strict_refuses_offsets_that_are_a_guess(tmp_path: Path) -> None:
    source = tmp_path / "in.xml"
    source.write_text('<document id="d"><sentence id="d.s0" text="Patients on aspirin bled."/></document>')

    def load() -> Annotator:
        return annotator(decoder="unconstrained", backend=perfect_copy_but({b"aspirin": b"Aspirin"}))

    assert annotate_file(source, tmp_path / "out", load).n_mentions == 1
    strict = annotate_file(source, tmp_path / "out", load, strict=True)
    assert strict.n_mentions == 0
    assert strict.problems == (("d.s0", "'aspirin' (drug): normalised offsets refused by --strict"),)


def no_model() -> Annotator:
    raise AssertionError("the model was loaded before input and output were checked")


def test_input_and_output_are_checked_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        annotate_file(tmp_path / "none.xml", tmp_path / "out", no_model)
    with pytest.raises(OutputError, match="folder"):
        annotate_file(SAMPLE, tmp_path, no_model)
    copy = tmp_path / "sample.xml"
    copy.write_bytes(SAMPLE.read_bytes())
    with pytest.raises(OutputError, match="is the input"):
        annotate_file(copy, copy, no_model)


def test_annotate_many_is_lazy_and_in_order() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield from ("Effect of aspirin.", "", "No name.")

    results = annotator().annotate_many(endless())
    assert [next(results).text for _ in range(5)] == [
        "Effect of aspirin.",
        "",
        "No name.",
        "Effect of aspirin.",
        "",
    ]


def test_confidence_is_the_probability_of_the_whole_mention() -> None:
    """With two choices of equal probability at every decision it can be counted by hand."""
    vocabulary = tag_token_vocabulary()
    drug, close = (vocabulary.control_by_bytes[tag] for tag in (b" <drug>", b"</drug>"))
    row = np.full(len(vocabulary), -1e9, dtype=np.float32)
    row[[drug, close]] = 1.0
    row[vocabulary.encode(" aspirin")] = 0.0
    row[vocabulary.encode("aspirin")] = 0.0
    backend = FakeBackend(vocabulary, lambda ids: row, context_length=512, chat_template=TEMPLATE)
    (mention,) = annotator(backend=backend).annotate("on aspirin").mentions
    odds = np.exp(1.0) / (np.exp(1.0) + 1.0)
    assert mention.text == "aspirin"
    assert mention.confidence == pytest.approx(odds, rel=0.01)  # to open here; closing at the end is forced
