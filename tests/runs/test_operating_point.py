"""The operating point of a run: fitted once, on what is neither shown nor evaluated; told in the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import byte_level_tokenizer, write_gguf
from vocabularies import tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator, Notify
from constrained_ner.annotation.operating_point import OperatingPoint
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.cli import ablate, calibrate
from constrained_ner.cli import annotate as annotate_command
from constrained_ner.data import Document, Sentence
from constrained_ner.errors import InputError, ModelError, UserError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.prompting.examples.request import ExampleRequest
from constrained_ner.runs.held_out import held_out
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.operating_point import with_point_request
from constrained_ner.runs.record import RunRecord
from constrained_ner.runs.source import Input
from constrained_ner.schema import DDI
from constrained_ner.training.operating_point import fit_operating_point

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
SHOTS = SAMPLE.with_name("shots.xml")
TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def open_fake(settings: Settings, notify: Notify) -> AbstractContextManager[Annotator]:
    vocabulary = tag_token_vocabulary()
    score = seeded_score(len(vocabulary), scale=3.0)
    backend = FakeBackend(vocabulary, score, context_length=2048, chat_template=TEMPLATE)
    return Annotator(backend, settings, notify=notify)


class Counting:
    """Fits points and counts how often. sentences: what the last one was fitted on."""

    def __init__(self) -> None:
        self.n, self.sentences = 0, [""]

    def __call__(self, annotator: Annotator, method: str, labelled: Sequence[Sentence]) -> OperatingPoint:
        self.n += 1
        self.sentences = [sentence.id for sentence in labelled]
        return fit_operating_point(annotator, method, labelled)


def run(out: Path, fitting: Counting | None, input: Path = SAMPLE, **options: Any) -> RunRecord:
    settings = Settings(**{"examples": SHOTS, "shots": 0, "fit": 8, "consistency": False, **options})
    return annotate_file(
        Input(input, limit=3), out, settings, open_annotator=open_fake, fit=fitting, overwrite=True
    )


def test_a_point_is_fitted_once_kept_and_told(tmp_path: Path) -> None:
    fit = Counting()
    first = run(tmp_path / "a", fit, operating_point="auto")
    second = run(tmp_path / "b", fit, operating_point="auto")
    assert fit.n == 1
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert first.fingerprint == second.fingerprint
    options = first.options
    assert options["operating_point"] == "auto"
    assert options["fitted_on"] == fit.sentences
    kept = Path(options["operating_point_file"])
    assert kept.is_relative_to(tmp_path / "cache")
    point = OperatingPoint.load(kept)
    assert options["bias"] == point.bias
    assert set(point.bias) >= set(DDI.type_names)
    assert run(tmp_path / "c", fit).fingerprint != first.fingerprint  # without a point


@pytest.mark.parametrize(
    "changed", [{"operating_point": "precision=0.5"}, {"fit": 4}, {"prompt": "strict"}, {"boundary": "char"}]
)
def test_what_a_point_depends_on_has_it_fitted_again(tmp_path: Path, changed: dict[str, Any]) -> None:
    fit = Counting()
    run(tmp_path / "a", fit, operating_point="auto")
    run(tmp_path / "b", fit, **{"operating_point": "auto", **changed})
    assert fit.n == 2


def test_what_does_not_matter_does_not(tmp_path: Path) -> None:
    fit = Counting()
    run(tmp_path / "a", fit, operating_point="auto")
    run(tmp_path / "b", fit, operating_point="auto", min_confidence=0.5)
    assert fit.n == 1


def test_a_damaged_file_in_the_cache_is_fitted_again(tmp_path: Path) -> None:
    fit = Counting()
    kept = Path(run(tmp_path / "a", fit, operating_point="auto").options["operating_point_file"])
    kept.write_text("{")
    run(tmp_path / "b", fit, operating_point="auto")
    assert fit.n == 2
    OperatingPoint.load(kept)


def test_content_free_needs_no_examples(tmp_path: Path) -> None:
    record = run(tmp_path / "a", Counting(), examples=None, operating_point="content-free")
    assert set(record.options["bias"]) == set(DDI.type_names)
    assert record.options["fitted_on"] == []


def test_sentences_of_the_annotated_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what is evaluated cannot be used for fitting"):
        run(tmp_path / "a", Counting(), examples=SAMPLE, operating_point="auto")
    kept = run(tmp_path / "a", Counting(), operating_point="auto").options["operating_point_file"]
    with pytest.raises(InputError, match=r"fitted on sentence .*, which is also in .*shots\.xml: what is"):
        run(tmp_path / "b", None, input=SHOTS, examples=None, operating_point=kept)


def test_a_file_is_for_the_model_and_prompt_that_it_was_fitted_for(tmp_path: Path) -> None:
    first = run(tmp_path / "a", Counting(), operating_point="auto")
    kept = first.options["operating_point_file"]
    assert (
        run(tmp_path / "b", None, examples=None, operating_point=kept).options["bias"]
        == first.options["bias"]
    )
    with pytest.raises(ModelError, match="fitted for another model, prompt, examples or settings"):
        run(tmp_path / "c", None, prompt="strict", operating_point=kept)
    run(tmp_path / "d", None, prompt="strict", operating_point=kept, force=True)


def test_an_annotator_takes_a_file_and_fits_nothing(tmp_path: Path) -> None:
    kept = run(tmp_path / "a", Counting(), operating_point="auto").options["operating_point_file"]
    with open_fake(Settings(operating_point=kept), print) as ner:
        assert ner.settings.bias == OperatingPoint.load(Path(kept)).bias
    with pytest.raises(UserError, match="an annotator takes one that is fitted"):
        open_fake(Settings(operating_point="auto"), print)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operating_point": "automatic"}, "operating_point: must be auto, content-free, precision=NUMBER"),
        ({"operating_point": "precision=2"}, "operating_point: must be auto"),
        ({"operating_point": "auto", "bias": {"drug": 1.0}}, "cannot be combined with --bias"),
        ({"operating_point": "auto", "engine": "xgrammar"}, "takes no bias"),
        (
            {"operating_point": "auto", "examples": None},
            "needs labelled sentences: name a file with --examples",
        ),
        ({"operating_point": "auto", "constrained": False}, "needs a local model and a constrained decoder"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path / "a", Counting(), **options)


# ---- what is held out


names = st.text("abc", min_size=1, max_size=3)


@given(
    documents=st.lists(st.lists(names, max_size=4), max_size=8),
    n=st.integers(1, 10),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_what_is_held_out_is_neither_shown_nor_evaluated(
    documents: list[list[str]], n: int, seed: int, data: st.DataObject
) -> None:
    corpus = [
        Document(f"d{d}", tuple(Sentence(f"d{d}.s{s}", text) for s, text in enumerate(texts)))
        for d, texts in enumerate(documents)
    ]
    sentences = [sentence for document in corpus for sentence in document]
    shown = data.draw(st.lists(st.sampled_from(sentences), max_size=3)) if sentences else []
    usable = {s.id for s in sentences if data.draw(st.booleans())}
    found = held_out(corpus, usable, shown, n, seed)
    assert len(found) <= n
    assert len({s.text for s in found}) == len(found)
    shown_documents = {s.id.split(".")[0] for s in shown}
    for sentence in found:
        assert sentence.id in usable
        assert sentence.text not in {s.text for s in shown}
        assert sentence.id.split(".")[0] not in shown_documents
    assert held_out(corpus, usable, shown, n + 1, seed)[: len(found)] == found


def test_similar_examples_are_not_chosen_from_documents_that_are_fitted_on() -> None:
    evaluated = [Document("e", (Sentence("e.s0", "Effect of gold on silver."),))]
    documents = list(read_ddi(SHOTS))
    request = ExampleRequest(SHOTS, 2, "similar")
    ids = {sentence.id for document in documents for sentence in document}
    asked = Settings(examples=SHOTS, shots=2, select="similar", fit=4, operating_point="auto")
    shown = replace(asked, examples=request.choose(documents, ids, evaluated, DDI))
    bare, found = with_point_request(asked, shown, lambda: evaluated, SAMPLE, None, print)
    assert found is not None
    assert len(found.labelled) == 4
    fitted = {
        document.id for document in documents if {s.id for s in found.labelled} & {s.id for s in document}
    }
    assert fitted
    assert not fitted & {candidate.document for candidate in bare.examples.pool.candidates}  # type: ignore[union-attr]


# ---- the commands


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def of_model(model: Path) -> tuple[object, ...]:
    return (
        "--model",
        model,
        "--context",
        2048,
        "--threads",
        1,
        "--shots",
        1,
        "--examples",
        SHOTS,
        "--fit",
        4,
    )


def test_a_point_that_calibrate_wrote_is_what_a_run_would_fit(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = tmp_path / "point.json"
    assert run_command(calibrate.main, SHOTS, "--point", point, *of_model(model)) == 0
    assert capsys.readouterr().out.startswith(f"{point}: drug ")
    out = (tmp_path / "out", "--limit", 2, "-q", *of_model(model))
    assert run_command(annotate_command.main, SAMPLE, *out, "--operating-point", point) == 0
    fitted = json.loads((tmp_path / "out.run.json").read_text())["options"]
    assert run_command(annotate_command.main, SAMPLE, *out, "--operating-point", "auto", "--overwrite") == 0
    again = json.loads((tmp_path / "out.run.json").read_text())["options"]
    assert fitted["bias"] == again["bias"]
    assert fitted["fitted_on"] == again["fitted_on"]
    assert len(fitted["example_ids"]) == 1
    assert not set(fitted["example_ids"]) & set(fitted["fitted_on"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--point", "p.json", "--store", "m.gguf"), "leave out PREDICTED and --store"),
        ((), "name the file PREDICTED to fit a temperature, or --point FILE"),
    ],
)
def test_calibrate_fits_one_thing(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(calibrate.main, SHOTS, *arguments) == 2
    assert message in capsys.readouterr().err


def test_an_ablation_has_arms_with_and_without_a_point(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "grid"
    points = ("--operating-point", "none,auto", "--limit", 2, "--quiet", "--out", out)
    assert run_command(ablate.main, SAMPLE, *points, *of_model(model)) == 0
    names = sorted(path.name.removesuffix(".out.run.json") for path in out.glob("*.run.json"))
    assert names == ["constrained", "constrained-point-auto", "unconstrained"]
