"""The model that ships, on real sentences: the same answer by every decoder and on both back ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from constrained_ner import Annotator, Sentence
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.training.bundled_model.restore import restore
from constrained_ner.training.bundled_model.save import save_gguf, save_transformers

N_SENTENCES = 300

Answers = list[list[tuple[int, int, str]]]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same weights in float32, for transformers and for llama.cpp."""
    folder = tmp_path_factory.mktemp("twins")
    model, tokenizer = restore(bundled_model())
    save_transformers(model, tokenizer, folder / "transformers")
    save_gguf(model, tokenizer, folder / "f32.gguf", precision="f32")
    return folder / "transformers", folder / "f32.gguf"


@pytest.fixture(scope="module")
def sentences(gold: dict[str, list[Sentence]]) -> list[Sentence]:
    return gold["devel"][:: len(gold["devel"]) // N_SENTENCES][:N_SENTENCES]


def answers(model: Path, sentences: Sequence[Sentence], decoder: str = "copy-draft") -> Answers:
    # All that is found: the twins lack the temperature by which the shipped model judges what to keep.
    # One thread: on a busy machine, several wait for one another at every layer.
    options = {} if model.is_dir() else {"threads": 1}
    with Annotator.load(model, decoder=decoder, batch=8, min_confidence=0.0, **options) as ner:
        results = list(ner.run(sentences))
    assert not [result.failure for result in results if result.failure]
    return [[(m.start, m.end, m.type) for m in result.sentence.mentions] for result in results]


@pytest.mark.parametrize("twin", [0, 1], ids=["transformers", "llama.cpp"])
def test_copy_draft_equals_stepwise_in_float32(
    twins: tuple[Path, Path], sentences: list[Sentence], twin: int
) -> None:
    drafted = answers(twins[twin], sentences)
    assert sum(map(len, drafted)) > N_SENTENCES
    assert drafted == answers(twins[twin], sentences, "stepwise")


def test_llama_cpp_and_transformers_agree(twins: tuple[Path, Path], sentences: list[Sentence]) -> None:
    in_transformers = answers(twins[0], sentences)
    rounded = bundled_model()  # and its activations, too
    for model, share in ((twins[1], 0.99), (rounded, 0.985)):
        equal = sum(a == b for a, b in zip(answers(model, sentences), in_transformers, strict=True))
        assert equal >= share * len(sentences)


def test_it_fits_the_package() -> None:
    shipped = [bundled_model(), *bundled_model().parent.glob("*.onnx")]
    assert sum(path.stat().st_size for path in shipped) <= 18_000_000


def test_the_library_s_front_door() -> None:
    with Annotator.load(threads=1) as ner:
        sentence = ner.annotate("Effect of aspirin on beta-blockers.")
    assert [(m.start, m.end, m.text) for m in sentence.mentions] == [
        (10, 17, "aspirin"),
        (21, 34, "beta-blockers"),
    ]
    for mention in sentence.mentions:
        assert mention.provenance == "constrained"
        assert mention.confidence is not None
        assert 0 < mention.confidence <= 1


def test_a_text_longer_than_the_context_comes_back_whole() -> None:
    text = " ".join(["Patients who took aspirin should not take warfarin."] * 45)
    with Annotator.load(threads=1) as ner:
        sentence = ner.annotate(text)
    assert sentence.text == text
    assert all(text[m.start : m.end] == m.text for m in sentence.mentions)
    assert sentence.mentions[-1].end > 0.9 * len(text)


def test_text_that_spells_control_tokens_is_copied() -> None:
    texts = ["</s><|sep|><|end|> <drug>aspirin</drug>", "<|chemical|> aspirin <|pad|>", "\x00\n aspirin"]
    with Annotator.load(threads=1) as ner:
        assert [sentence.text for sentence in ner.annotate_many(texts)] == texts


@pytest.mark.parametrize(
    "text",
    [
        "Patients\u00a0on\u2009Coumadin should not take aspirin.",
        "Patients on Coumadin\u00ae should not take aspirin\u00b9.",
        "Patients on Coumadin \u2122 should not take as\u00adpirin.",
        "Patients\ton\r\nCoumadin should not take aspi\x00rin.",
        "PATIENTS ON COUMADIN SHOULD NOT TAKE ASPIRIN.",
        "patients on coumadin should not take aspirin.",
    ],
)
def test_text_as_it_comes(text: str) -> None:
    with Annotator.load(threads=1) as ner:
        sentence = ner.annotate(text)
        usual = ner.annotate("Patients on Coumadin should not take aspirin.")
    assert sentence.text == text
    found = [(m.text, m.type) for m in sentence.mentions]
    assert [kind for _, kind in found] == [m.type for m in usual.mentions]
    assert all(text[m.start : m.end] == m.text for m in sentence.mentions)
    plain = [name.replace("\u00ad", "").replace("\x00", "").lower() for name, _ in found]
    assert plain == ["coumadin", "aspirin"]


def test_the_sentences_of_a_document_agree_on_a_name_however_it_is_written() -> None:
    texts = ["Use midazolam with care.", "The mida\u00adzolam levels rose.", "MIDAZOLAM LEVELS WERE HIGH."]
    with Annotator.load(threads=1) as ner:
        found = ner.annotate_document(texts)
    assert [m.text for s in found for m in s.mentions] == [
        "midazolam",
        "mida\u00adzolam",
        "MIDAZOLAM",
    ]


def test_tabs_part_names() -> None:
    with Annotator.load(threads=1) as ner:
        sentence = ner.annotate("Take ibuprofen\tand aspirin.")
    assert [m.text for m in sentence.mentions] == ["ibuprofen", "aspirin"]
