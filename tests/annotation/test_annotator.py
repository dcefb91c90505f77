"""The front door: what is refused, and what fails by itself."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hard_texts import texts
from hypothesis import given
from vocabularies import byte_vocabulary, tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import PromptError, SentenceError, UserError
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.runs.job import annotate_file
from constrained_ner.vocabulary import Vocabulary

TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"
NOT_TEXTS: Sequence[Any] = (None, b"Aspirin.", math.nan, 7, "Aspirin \ud83d")


def backend(vocabulary: Vocabulary | None = None, template: str | None = TEMPLATE) -> FakeBackend:
    vocabulary = vocabulary or tag_token_vocabulary()
    return FakeBackend(vocabulary, seeded_score(len(vocabulary), scale=3.0), chat_template=template)


# ---- one bad text in a batch


@pytest.mark.parametrize("bad", NOT_TEXTS, ids=repr)
def test_one_bad_text_in_a_batch_fails_alone_and_is_named(bad: Any) -> None:
    said: list[str] = []
    ner = Annotator(backend(), notify=said.append)
    good = ["Aspirin and warfarin.", "Effect of ibuprofen on digoxin."]
    first, failed, last = ner.annotate_many([good[0], bad, good[1]])
    assert failed.failure is not None
    assert not failed.mentions
    assert said == [f"text 1 was not annotated: {failed.failure}"]
    assert first.failure is last.failure is None
    assert [first, replace(last, id="1")] == list(ner.annotate_many(good))


@pytest.mark.parametrize("bad", NOT_TEXTS, ids=repr)
def test_a_document_with_a_bad_text_is_refused_by_the_number_of_the_text(bad: Any) -> None:
    with pytest.raises(SentenceError, match=r"^sentence 1: "):
        Annotator(backend()).annotate_document(["Aspirin and warfarin.", bad, "Aspirin with digoxin."])


@pytest.mark.parametrize("bad", [None, b"Aspirin.", math.nan, 7], ids=repr)
def test_a_wrong_type_is_refused_in_one_line(bad: Any) -> None:
    ner = Annotator(backend())
    with pytest.raises(UserError, match=f"annotate takes a text .*{type(bad).__name__}") as refusal:
        ner.annotate(bad)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("one", ["Aspirin.", b"Aspirin.", None, 7], ids=repr)
@pytest.mark.parametrize("method", ["annotate_many", "annotate_document"])
def test_one_text_where_several_are_wanted_is_refused_at_once(method: str, one: Any) -> None:
    if method == "annotate_document" and isinstance(one, str):
        return  # a running text
    with pytest.raises(UserError, match=f"{method} takes several texts, such as a list, not"):
        getattr(Annotator(backend()), method)(one)


# ---- running text


@given(texts)
def test_a_running_text_comes_back_whole_with_offsets_that_count_in_it(text: str) -> None:
    document = Annotator(backend(byte_vocabulary(), None), rule="any").annotate_document(text)
    assert document.text == text
    for _, mention in document.located():
        assert text[mention.start : mention.end] == mention.text


def test_a_running_text_is_annotated_like_its_sentences() -> None:
    ner = Annotator(backend())
    sentences = ["Aspirin and warfarin.", "Effect of ibuprofen on digoxin."]
    document = ner.annotate_document(f"{sentences[0]}  {sentences[1]}\n")
    assert [sentence.text for sentence in document] == sentences
    assert [s.mentions for s in document] == [s.mentions for s in ner.annotate_document(sentences)]
    assert [sentence.start for sentence in document] == [0, 23]


def test_documents_come_back_in_order_and_one_bad_sentence_fails_alone() -> None:
    said: list[str] = []
    ner = Annotator(backend(), notify=said.append)
    contents = {"a": "Aspirin. Warfarin.", "b": "", "c": "Iron \ud83d"}
    a, b, c = ner.annotate_documents(Document.of_text(id, text) for id, text in contents.items())
    assert [d.id for d in (a, b, c)] == ["a", "b", "c"]
    assert [s.id for s in a] == ["a.s0", "a.s1"]
    assert b.sentences == ()
    assert c.sentences[0].failure is not None
    assert len(said) == 1


def test_annotating_goes_on_after_a_failure() -> None:
    ner = Annotator(backend())
    expected = ner.annotate("Aspirin and warfarin.")
    with pytest.raises(SentenceError, match="lone surrogate"):
        ner.annotate("Aspirin \ud83d")
    assert ner.annotate("Aspirin and warfarin.") == expected


# ---- characters that the vocabulary cannot write


def lacking(*missing: int) -> Vocabulary:
    """A vocabulary of bytes without these."""
    whole = byte_vocabulary()
    token_bytes = [b"" if piece in {bytes([b]) for b in missing} else piece for piece in whole.token_bytes]
    gone = {i for i, piece in enumerate(token_bytes) if not piece}

    def tokenize(text: str) -> list[int]:
        return [i for i in whole.encode(text) if i not in gone]

    return Vocabulary(
        token_bytes,
        control_ids=whole.control_ids | gone,
        stop_ids=whole.stop_ids,
        tokenize=tokenize,
    )


def test_a_vocabulary_that_lacks_bytes_is_named_at_load() -> None:
    said: list[str] = []
    Annotator(backend(lacking(0x14, 0xF1), None), notify=said.append)
    (warning,) = said
    assert "lacks 2 of 256 bytes (14, f1)" in warning
    said.clear()
    Annotator(backend(lacking(*range(0x80, 0x100)), None), notify=said.append)
    assert "has no byte tokens" in said[0]
    assert byte_vocabulary().missing_bytes == ()


@pytest.mark.parametrize("character", ["\x14", "\U00050000"])
@pytest.mark.parametrize("rule", ["canonical", "any"])
def test_a_character_that_the_vocabulary_cannot_write_fails_its_sentence_alone(
    character: str, rule: str
) -> None:
    ner = Annotator(backend(lacking(0x14, 0xF1), None), notify=lambda _: None, rule=rule, view="as-is")
    texts = ["aspirin.", f"aspirin 50{character}100 mg", "warfarin."]
    results = list(ner.annotate_many(texts))
    assert [sentence.failure is None for sentence in results] == [True, False, True]
    assert f"U+{ord(character):04X}" in str(results[1].failure)


def test_a_run_with_an_unwritable_character_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "in.xml"
    source.write_text(
        '<c><sentence id="s0" text="aspirin."/><sentence id="s1" text="x &#x50000; y"/>'
        '<sentence id="s2" text="warfarin."/></c>'
    )

    def opening(settings: Settings, notify: Any) -> Annotator:
        return Annotator(backend(lacking(0xF1), None), settings, notify=notify)

    record = annotate_file(source, tmp_path / "out", open_annotator=opening)
    ((sentence_id, why),) = record.failures
    assert sentence_id == "s1"
    assert "U+50000" in why
    assert record.n_sentences == 3


def test_an_unwritable_prompt_is_refused_and_an_unwritable_example_left_out() -> None:
    prompt = PromptFile(sysprompt=("Mark \x14 names.",), usrprompt=("{sentence}",))
    with pytest.raises(PromptError, match=r"U\+0014"):
        Annotator(backend(lacking(0x14), None), prompt=prompt, notify=lambda _: None)
    said: list[str] = []
    good = Sentence("g", "aspirin", (Mention((Span(0, 7),), "drug", "aspirin"),))
    bad = Sentence("b", "aspirin \x14", good.mentions)
    ner = Annotator(backend(lacking(0x14), None), examples=[bad, good], notify=said.append)
    assert [example.id for example in ner.examples] == ["g"]
    assert any("example b is not shown" in line for line in said)


# ---- mentions that are somewhere else


@pytest.mark.parametrize(("start", "end"), [(5, 11), (0, 7), (5, 13), (5, 99)])
def test_an_example_with_a_mention_that_is_not_at_its_offsets_is_refused(start: int, end: int) -> None:
    wrong = Sentence("e", "Take aspirin.", (Mention((Span(start, end),), "drug", "aspirin"),))
    with pytest.raises(UserError, match=f"example e: mention 'aspirin' is not at {start}-{end}"):
        Annotator(backend(template=None), examples=[wrong])
    spaced = Sentence("e", "Take beta- blockers.", (Mention((Span(5, 19),), "group", "Beta-blockers"),))
    Annotator(backend(template=None), examples=[spaced]).close()


# ---- memory


def test_a_closed_annotator_leaves_nothing_to_the_garbage_collector() -> None:
    """Reference cycles would keep a model's vocabulary and caches until the collector comes by."""
    gc.collect()
    gc.disable()
    try:
        model = backend(template=None)
        example = Sentence("e", "Take aspirin.", (Mention((Span(5, 12),), "drug", "aspirin"),))
        ner = Annotator(model, examples=[example])
        ner.annotate("Aspirin and warfarin.")
        parts = [ner, ner._pipeline.transport, ner._transport.tokens, ner._transport._prompt._encoder]  # type: ignore[attr-defined]
        alive = [weakref.ref(part) for part in (*parts, model, model.vocabulary)]
        ner.close()
        del ner, model, parts
        assert [type(ref()).__name__ for ref in alive if ref() is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("option", ["schema", "prompt"])
def test_a_damaged_file_is_named_before_the_model_is_loaded(tmp_path: Path, option: str) -> None:
    (tmp_path / "file.json").write_text("[]")
    with pytest.raises(UserError, match=r"file\.json: .* must be an object"):
        Annotator.load(tmp_path / "no-such-model.gguf", **{option: str(tmp_path / "file.json")})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("min_confidnce", "min_confidnce: no such option; did you mean min_confidence?"),
        ("thread", "thread: no such option; did you mean threads?"),
        ("xyz", "xyz: no such option; see the fields of Settings"),
    ],
)
def test_an_option_that_there_is_not_is_named_with_what_is_near(option: str, message: str) -> None:
    for call in (Annotator.load, partial(Annotator, backend())):
        with pytest.raises(UserError) as refusal:
            call(**{option: 0.9})
        assert str(refusal.value) == message
