"""A whole file through the annotator with a fake model: nothing lost, nothing half-written, resumable."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vocabularies import tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator, Notify
from constrained_ner.annotation.by_logits import ByLogits
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.data import Mention, Sentence
from constrained_ner.errors import InputError, OutputError, SentenceError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.evaluator_lines import read_predictions
from constrained_ner.formats.mentions import mentions_path, read_mentions
from constrained_ner.runs import progress
from constrained_ner.runs.job import OpenAnnotator
from constrained_ner.runs.job import annotate_file as annotate
from constrained_ner.runs.journal import journal_path
from constrained_ner.runs.progress import ProgressDisplay
from constrained_ner.runs.record import RunRecord, record_path
from constrained_ner.runs.source import Input
from constrained_ner.schema import DDI

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"


def fake(*, context_length: int = 2048, draft_horizon: int | None = None) -> FakeBackend:
    vocabulary = tag_token_vocabulary()
    score = seeded_score(len(vocabulary), scale=3.0)
    return FakeBackend(
        vocabulary,
        score,
        context_length=context_length,
        chat_template=TEMPLATE,
        draft_horizon=draft_horizon,
    )


def annotator(backend: FakeBackend | None = None, **options: Any) -> Annotator:
    return Annotator(backend or fake(), **options)


def opening(backend: FakeBackend | None = None) -> OpenAnnotator:
    """What a run opens its annotator with: the fake model instead of the one that the settings name."""

    def open_annotator(settings: Settings, notify: Notify) -> AbstractContextManager[Annotator]:
        return Annotator(backend or fake(), settings, notify=notify)

    return open_annotator


def annotate_file(
    input: Path,
    output: Path,
    backend: FakeBackend | None = None,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    **options: Any,
) -> RunRecord:
    source = Input(input, limit=limit)
    return annotate(source, output, Settings(**options), overwrite=overwrite, open_annotator=opening(backend))


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
    record = annotate_file(SAMPLE, tmp_path / "out", consistency=False)
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


def test_loading_is_timed_apart_and_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.05)

    def slowly(settings: Settings, notify: Notify) -> AbstractContextManager[Annotator]:
        time.sleep(0.5)
        return opening()(settings, notify)

    said = io.StringIO()
    display = ProgressDisplay(stream=said)
    source = Input(SAMPLE, limit=2)
    record = annotate(source, tmp_path / "out", open_annotator=slowly, progress=display)
    assert record.load_s is not None
    assert record.load_s >= 0.5
    assert said.getvalue().startswith("loading the bundled model\n")
    assert f"{record.elapsed_s:.1f} s (loading: {record.load_s:.1f} s), " in said.getvalue()


def test_names_are_made_consistent_within_each_document_alone(tmp_path: Path) -> None:
    annotate_file(SAMPLE, tmp_path / "alone", consistency=False)
    record = annotate_file(SAMPLE, tmp_path / "out")
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
    submit = ByLogits.submit

    def submit_or_fail(self: ByLogits, window: str, *others: Any) -> Any:
        if "broken" in window:
            raise SentenceError("it cannot be annotated")
        return submit(self, window, *others)

    monkeypatch.setattr(ByLogits, "submit", submit_or_fail)
    source = tmp_path / "in.xml"
    texts = ("Take aspirin.", "A broken aspirin.", "More aspirin.", "", "Aspirin.")
    sentences = "".join(f'<sentence id="d.s{n}" text="{text}"/>' for n, text in enumerate(texts))
    source.write_text(f'<document id="d">{sentences}</document>')
    model = perfect_copy_but({b"More <drug>aspirin</drug>": b"More aspirin"})
    record = annotate_file(source, tmp_path / "out", model, rule="any", consistency=True)
    assert [sentence_id for sentence_id, _ in record.failures] == ["d.s1"]
    found = read_mentions(mentions_path(tmp_path / "out"))
    assert [(sentence_id, m.text, m.provenance) for sentence_id, m in found] == [
        ("d.s0", "aspirin", "constrained"),
        ("d.s2", "aspirin", "repeated"),
        ("d.s4", "Aspirin", "repeated"),
    ]
    model = perfect_copy_but({})
    with pytest.raises(SentenceError, match="sentence 1: it cannot be annotated"):
        Annotator(model, rule="any").annotate_document(texts)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        annotate_file(SAMPLE, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_stepwise_and_copy_draft_write_the_same_file(tmp_path: Path) -> None:
    annotate_file(SAMPLE, tmp_path / "a")
    annotate_file(SAMPLE, tmp_path / "b", decoder="stepwise")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("horizon", [1, 5, 12])
def test_a_horizon_changes_no_byte(tmp_path: Path, horizon: int) -> None:
    whole = annotate_file(SAMPLE, tmp_path / "whole")
    for name, n_at_once in (("together", 4), ("alone", 1)):
        backend = fake(draft_horizon=horizon)
        backend.max_sequences = n_at_once
        record = annotate_file(SAMPLE, tmp_path / name, backend)
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole").read_bytes() != b""
        for one, other in zip(
            *(read_mentions(mentions_path(tmp_path / n)) for n in (name, "whole")), strict=True
        ):
            assert one == other
        assert record.n_passes > whole.n_passes
        assert record.n_tokens < whole.n_tokens


def test_the_legal_share_is_measured_if_asked_for_and_changes_no_byte(tmp_path: Path) -> None:
    said: dict[str, list[str]] = {}
    records = {}
    for name, asked in (("with", True), ("without", False)):
        display = Listening()
        records[name] = annotate(
            SAMPLE,
            tmp_path / name,
            Settings(legal_mass=asked),
            open_annotator=opening(),
            progress=display,
        )
        said[name] = display.said
    assert records["with"].legal_share is not None
    assert 0 < records["with"].legal_share < 1
    assert records["without"].legal_share is None
    assert "legal_mass" not in records["without"].effort
    assert records["with"].fingerprint == records["without"].fingerprint
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes() != b""
    mentions = [mentions_path(tmp_path / name).read_bytes() for name in records]
    assert mentions[0] == mentions[1]
    assert "of probability on legal tokens" in said["with"][-1]
    assert "legal" not in said["without"][-1]


class Listening(ProgressDisplay):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.parametrize("n_passes", [0, 1, 7, 40])
def test_a_killed_run_resumes_with_the_same_bytes(tmp_path: Path, n_passes: int) -> None:
    annotate_file(SAMPLE, tmp_path / "whole")
    out = tmp_path / "out"
    out.write_text("an older result\n")
    with pytest.raises(KeyboardInterrupt):
        annotate_file(SAMPLE, out, DyingBackend(n_passes, KeyboardInterrupt()), overwrite=True)
    assert out.read_text() == "an older result\n"
    record = annotate_file(SAMPLE, out, overwrite=True)
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
    assert (record.n_resumed > 0) == (n_passes == 40)
    assert mentions_path(out).read_bytes() == mentions_path(tmp_path / "whole").read_bytes()
    beside = {f"{name}{end}" for name in ("whole", "out") for end in ("", ".run.json", ".mentions.jsonl")}
    assert {path.name for path in tmp_path.iterdir()} == beside


def test_other_options_do_not_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        annotate_file(SAMPLE, tmp_path / "out", DyingBackend(40, KeyboardInterrupt()))
    record = annotate_file(SAMPLE, tmp_path / "out", constrained=False)
    assert record.n_resumed == 0


def small_input(folder: Path) -> Path:
    """Four sentences, which take a journal of a few hundred bytes."""
    texts = ("iron", "", "zinc and\niron", "β é")
    sentences = "".join(f'<sentence id="d.s{n}" text="{text}"/>' for n, text in enumerate(texts))
    (folder / "in.xml").write_text(f'<document id="d">{sentences}</document>', encoding="utf-8")
    return folder / "in.xml"


def interrupted(source: Path, out: Path) -> bytes:
    """A journal with all sentences but the last."""
    backend = fake()
    backend.max_sequences = 1
    ner = annotator(backend)
    n_passes = sum(result.effort.n_passes for result in list(ner.run(sentences_of(source)))[:-1])
    dying = DyingBackend(n_passes, KeyboardInterrupt())
    dying.max_sequences = 1
    with pytest.raises(KeyboardInterrupt):
        annotate_file(source, out, dying)
    return journal_path(out).read_bytes()


def sentences_of(source: Path) -> list[Sentence]:
    return [sentence for document in read_ddi(source) for sentence in document]


def test_a_journal_cut_anywhere_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    source, out = small_input(tmp_path), tmp_path / "out"
    annotate_file(source, tmp_path / "whole")
    content = interrupted(source, out)
    ends = [n + 1 for n, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 1 + 3
    for length in sorted({*range(0, len(content), 23), *ends, *(end - 1 for end in ends)}):
        journal_path(out).write_bytes(content[:length])
        out.unlink(missing_ok=True)
        record = annotate_file(source, out)
        assert record.n_resumed == max(sum(end <= length for end in ends) - 1, 0)  # less the header
        assert out.read_bytes() == (tmp_path / "whole").read_bytes()
        assert mentions_path(out).read_bytes() == mentions_path(tmp_path / "whole").read_bytes()
        assert not journal_path(out).exists()


def test_a_run_killed_just_before_the_journal_is_removed_finishes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = small_input(tmp_path), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("constrained_ner.runs.journal.Journal.remove", interrupt)
        with pytest.raises(KeyboardInterrupt):
            annotate_file(source, out)
    written = out.read_bytes()
    record = annotate_file(source, out)
    assert (record.n_resumed, record.n_sentences) == (4, 4)
    assert out.read_bytes() == written != b""
    assert not journal_path(out).exists()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    source = small_input(tmp_path)
    annotate_file(source, tmp_path / "whole")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "real").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "results" / "real")
    annotate_file(source, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "results" / "real").read_bytes() == (tmp_path / "whole").read_bytes()
    assert mentions_path(tmp_path / "out").read_bytes() == mentions_path(tmp_path / "whole").read_bytes()


def test_no_mentions_give_an_empty_output(tmp_path: Path) -> None:
    (tmp_path / "in.xml").write_text('<document id="d"><sentence id="d.s0" text=""/></document>')
    annotate_file(tmp_path / "in.xml", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == mentions_path(tmp_path / "out").read_bytes() == b""
    assert {path.name for path in tmp_path.iterdir()} == {
        *("in.xml", "out"),
        *("out.mentions.jsonl", "out.run.json"),
    }


@pytest.mark.parametrize("changed", [{"threads": 3}, {"batch": 2}, {"schema": "own.json"}])
def test_what_does_not_decide_resumes(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Threads, the batch, and the place of a schema that says the same."""
    source, out = small_input(tmp_path), tmp_path / "out"
    (tmp_path / "own.json").write_text(DDI.model_dump_json())
    options = {name: tmp_path / value if name == "schema" else value for name, value in changed.items()}
    interrupted(source, out)
    record = annotate_file(source, out, **options)
    assert (record.n_resumed, record.n_sentences) == (3, 4)


def test_the_journal_of_another_run_is_kept_and_named(tmp_path: Path) -> None:
    source, out = small_input(tmp_path), tmp_path / "out"
    content = interrupted(source, out)
    said: list[str] = []

    def open_annotator(settings: Settings, notify: Notify) -> AbstractContextManager[Annotator]:
        return Annotator(fake(), settings, notify=notify)

    class Display(ProgressDisplay):
        def say(self, line: str) -> None:
            said.append(line)

    settings = Settings(boundary="char")
    record = annotate(source, out, settings, open_annotator=open_annotator, progress=Display())
    assert record.n_resumed == 0
    assert (tmp_path / "out.journal.1").read_bytes() == content
    (note,) = (line for line in said if line.startswith("note: "))
    assert note.startswith("note: out.journal belongs to a run with other settings or sentences")
    assert "kept as out.journal.1" in note


def test_a_long_sentence_is_split_and_comes_back_whole(tmp_path: Path) -> None:
    words = " ".join(f"word{n} aspirin" for n in range(60))
    sentence = annotator(fake(context_length=160)).annotate(words)
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
    ner = annotator(fake(context_length=64))
    assert isinstance(ner._pipeline.transport, ByLogits)
    ner._pipeline.transport._prompt.room = 1
    (result,) = ner.run([Sentence("s", "aspirin and iron")])
    assert "prompt and answer need more than the 1 tokens" in str(result.failure)
    with pytest.raises(SentenceError, match="prompt and answer need more than the 1 tokens"):
        ner.annotate("aspirin and iron")


def test_an_unconstrained_run_says_where_its_offsets_come_from(tmp_path: Path) -> None:
    record = annotate_file(SAMPLE, tmp_path / "out", constrained=False)
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
    ner = annotator(perfect_copy_but(replacements), constrained=False)
    mentions = ner.annotate("Patients on aspirin bled.").mentions
    assert [(m.start, m.end, m.text, m.type, m.provenance) for m in mentions] == [
        (12, 19, "aspirin", "drug", provenance)
    ]


def test_strict_refuses_offsets_that_are_a_guess(tmp_path: Path) -> None:
    source = tmp_path / "in.xml"
    source.write_text('<document id="d"><sentence id="d.s0" text="Patients on aspirin bled."/></document>')

    def annotate_freely(**options: Any) -> RunRecord:
        model = perfect_copy_but({b"aspirin": b"Aspirin"})
        return annotate_file(source, tmp_path / "out", model, constrained=False, **options)

    assert annotate_freely().n_mentions == 1
    strict = annotate_freely(strict=True, overwrite=True)
    assert strict.n_mentions == 0
    assert strict.problems == (("d.s0", "'aspirin' (drug): normalised offsets refused by --strict"),)


def no_model(settings: Settings, notify: Notify) -> Annotator:
    raise AssertionError("the model was loaded before input and output were checked")


def test_input_and_output_are_checked_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        annotate(tmp_path / "none.xml", tmp_path / "out", open_annotator=no_model)
    with pytest.raises(OutputError, match="folder"):
        annotate(SAMPLE, tmp_path, open_annotator=no_model)
    copy = tmp_path / "sample.xml"
    copy.write_bytes(SAMPLE.read_bytes())
    with pytest.raises(OutputError, match="is the input"):
        annotate(copy, copy, open_annotator=no_model)


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
    (mention,) = annotator(backend).annotate("on aspirin").mentions
    odds = np.exp(1.0) / (np.exp(1.0) + 1.0)
    assert mention.text == "aspirin"
    assert mention.confidence == pytest.approx(odds, rel=0.01)  # to open here; closing at the end is forced
