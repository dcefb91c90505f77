"""The bundled model's training as one command: from a folder of data to a GGUF with its card."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from template_sentences import NAMES, make_document, write

from constrained_ner import Annotator
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.errors import InputError, ModelError, OutputError, UserError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.training.bundled_model import recipe
from constrained_ner.training.bundled_model.corpus import CHEMICAL_TYPES, TEXTS
from constrained_ner.training.bundled_model.marks import read_marks
from constrained_ner.training.bundled_model.model import ModelSize, size_of
from constrained_ner.training.bundled_model.tokenizer import ModelTokenizer
from constrained_ner.training.bundled_model.trainer import Trainer

SMALL = ModelSize(n_hidden=32, n_layers=2, n_heads=2, n_feed_forward=64, n_context=256)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for the command, with sentences from templates."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("ddi", "text", "ner", "lexicon"):
        (folder / name).mkdir()
    write(make_document(60, seed=1), folder / "ddi" / "train.xml")
    write(make_document(20, seed=2), folder / "ddi" / "devel.xml")
    sentences = [s for document in read_ddi(folder / "ddi" / "train.xml") for s in document]
    for name in TEXTS:
        write_lines(folder / "text" / f"{name}.txt.gz", [s.text for s in sentences[:10]])
    for name, types in CHEMICAL_TYPES.items():
        kind = min(types)
        records = [
            {
                "text": s.text,
                "entities": [{"start": m.start, "end": m.end, "type": kind} for m in s.mentions],
            }
            for s in sentences[10:15]
        ]
        write_lines(folder / "ner" / f"{name}.jsonl.gz", map(json.dumps, records))
    listed = [f"{name}|{kind}" for kind, names in NAMES.items() if kind != "drug_n" for name in names]
    write_lines(folder / "lexicon" / "drugbank_names.txt.gz", listed)
    return folder


def write_lines(path: Path, lines: object) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)  # type: ignore[attr-defined]


def test_from_data_to_a_model_and_its_student(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "ModelSize", lambda: SMALL)
    monkeypatch.setattr(Trainer, "CHUNK_BATCHES", 2)
    train = partial(
        recipe.train, data, tokens=(2000, 2000, 2000), devel=data / "ddi" / "devel.xml", threads=1
    )
    first, second = tmp_path / "first", tmp_path / "second"
    train(first)
    model = first / recipe.MODEL_FILE
    with Annotator.load(model, threads=1) as ner:
        assert ner.annotate("Patients who take diuretics.").text == "Patients who take diuretics."
    card = (first / "MODEL_CARD.md").read_text()
    for stage in ("copying", "mixture", "gold"):
        assert f"\n| {stage} | " in card
    assert "m.avg(no class)" in card

    with pytest.raises(OutputError, match="pass --resume to continue from it"):
        train(first)
    written = model.read_bytes()
    train(first, resume=True)  # nothing is left to do
    assert model.read_bytes() == written

    with pytest.raises(InputError, match=r"taught\.jsonl: empty"):  # it knows nothing yet
        train(tmp_path / "third", teacher=str(model), soft=False, n_taught=8)

    teacher = {"teacher": str(bundled_model()), "n_taught": 8}
    train(second, start_from=[first], soft=False, listed=0.3, bias={"drug_n": 0.5}, **teacher)
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    assert len((second / "taught.jsonl").read_text().splitlines()) <= 8
    card = (second / "MODEL_CARD.md").read_text()
    assert "of 1 earlier training(s): `first`" in card
    assert "30% of the last stage was lists of names" in card
    assert "drug_n +0.5 was added to the logits of opening" in card

    soft = tmp_path / "soft"
    train(soft, start_from=[first], **teacher)
    assert len(read_marks(soft / "marks.jsonl")) == 8
    card = (soft / "MODEL_CARD.md").read_text()
    assert "marked (`constrained-ner-bundled.gguf`); its probabilities were the targets" in card

    train(
        tmp_path / "read",
        tokens=(0, 2000, 0),
        rows_from=str(first / "transformers"),
        vocabulary=400,
        names_in_vocabulary=1,
        of_batch=True,
    )
    tokenizer = ModelTokenizer.load(tmp_path / "read" / "tokenizer.json")
    assert tokenizer.n_tokens <= 400

    again = tmp_path / "again"
    train(again, start_from=[first], marks=soft / "marks.jsonl")
    assert (again / recipe.MODEL_FILE).read_bytes() == (soft / recipe.MODEL_FILE).read_bytes()

    train(tmp_path / "mean", start_from=[first, second], tokens=(0, 0, 0))
    halves = [load_file(folder / "transformers" / "model.safetensors") for folder in (first, second)]
    for name, mean in load_file(tmp_path / "mean" / "transformers" / "model.safetensors").items():
        torch.testing.assert_close(mean, (halves[0][name] + halves[1][name]) / 2)
    (second / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not the same tokenizer"):
        train(tmp_path / "unequal", start_from=[first, second])


def test_what_is_learnt_without_gold_is_a_start_for_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "ModelSize", lambda: SMALL)
    monkeypatch.setattr(Trainer, "CHUNK_BATCHES", 2)
    without_gold = tmp_path / "without_gold"
    shutil.copytree(data, without_gold, ignore=shutil.ignore_patterns("ddi"))
    trunk = tmp_path / "trunk"
    start = partial(recipe.train, tokens=(0, 2000, 0), threads=1)
    start(without_gold, trunk, gold=False, feed_forward=96, batch_tokens=750, feeders=1, vocabulary=400)
    card = (trunk / "MODEL_CARD.md").read_text()
    assert "The annotated documents were left out of everything." in card
    assert "| 0.001 |" in card  # half of that for batches of 3000 tokens
    assert "after mixture" not in (trunk / "train.log").read_text()  # nothing is measured

    out, devel = tmp_path / "out", data / "ddi" / "devel.xml"
    finish = partial(recipe.train, data, out, tokens=(0, 0, 2000), start_from=[trunk], devel=devel, threads=1)
    with pytest.raises(UserError, match=r"--feed-forward 64: .* has 96"):
        finish(feed_forward=64)
    finish(feed_forward=96)
    assert size_of(out / "transformers") == replace(SMALL, n_feed_forward=96)
    assert "after gold" in (out / "train.log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": (10.0, 60.0, 30.0)}, "--minutes 10 60 0"),
        ({"fold": 1}, "leave --fold out"),
        ({"marks": Path("marks.jsonl")}, "they know the gold"),
        ({"listed": 0.2}, "belong to the gold stage"),
    ],
)
def test_what_needs_gold_is_refused_without_it(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe.train(tmp_path, tmp_path / "out", gold=False, **{"minutes": (1.0, 1.0, 0.0), **options})
    assert not (tmp_path / "out").exists()


def test_a_model_to_start_from_needs_its_size(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: cannot start from this model"):
        size_of(tmp_path)
