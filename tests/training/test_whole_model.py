"""Training all weights of a tiny model, with tags as text and as tokens, and from another corpus besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from finetuning import settings

from constrained_ner import Annotator
from constrained_ner.backends.transformers.model import load_tokenizer
from constrained_ner.data import Sentence
from constrained_ner.errors import ModelError, SchemaError, UserError
from constrained_ner.evaluation import evaluate
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI
from constrained_ner.training.finetune.folder import TrainingRecord
from constrained_ner.training.finetune.memory_estimate import ModelShape, Workload, estimate, savings
from constrained_ner.training.finetune.run import finetune
from constrained_ner.training.finetune.whole_model import add_tag_tokens, load_whole

LEARN = {"full": True, "lr": 4e-3, "epochs": 5, "limit_val": 20}


@pytest.fixture(scope="module")
def with_tag_tokens(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingRecord]:
    out = tmp_path_factory.mktemp("whole") / "model"
    return out, finetune(settings(folder, tag_tokens=True, **LEARN), out, lambda line: None)


def f1(ner: Annotator, path: Path) -> float:
    gold = [s for document in read_ddi(path) for s in document][:20]
    with ner:
        found = [annotated.sentence for annotated in ner.run(gold)]
    pairs = [[(s.id, m) for s in each for m in s.mentions] for each in (gold, found)]
    return evaluate(*pairs).micro.f1


def test_a_whole_model_learns_and_is_used_by_its_folder_alone(
    folder: Path, with_tag_tokens: tuple[Path, TrainingRecord]
) -> None:
    out, record = with_tag_tokens
    assert record.best["eval_micro_f1"] > 0.8  # untrained 0.06, four other seeds 0.97 to 1.00
    names = {path.name for path in out.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "constrained-ner.json"} <= names
    assert not any(name.startswith("adapter") for name in names)
    ner = Annotator.load(out, device="cpu")  # schema and prompt from its card
    assert ner.prompt.hash() != Annotator.load(folder / "model", device="cpu").prompt.hash()
    assert f1(ner, folder / "val.xml") > 0.8


def test_tags_are_tokens_that_text_never_becomes(with_tag_tokens: tuple[Path, TrainingRecord]) -> None:
    out, _ = with_tag_tokens
    with Annotator.load(out, device="cpu", decoder="stepwise") as ner:
        vocabulary = ner.backend.vocabulary  # type: ignore[union-attr]
        tag = vocabulary.control_by_bytes[b"<drug>"]
        assert tag not in vocabulary.encode("a <drug> b")
        (annotated,) = ner.run([Sentence("s", "Spelt <drug> here, with </drug> after it.")])
    assert annotated.failure is None
    assert annotated.sentence.text.startswith("Spelt <drug>")


def test_tags_as_text_learn_too_and_take_more_tokens(
    folder: Path, tmp_path: Path, with_tag_tokens: tuple[Path, TrainingRecord]
) -> None:
    record = finetune(
        settings(folder, **LEARN | {"max_steps": 12, "limit_val": 4}), tmp_path / "m", lambda line: None
    )
    assert record.epochs[-1]["eval_loss"] < 0.7  # untrained 1.10, trained about 0.37
    sizes = []
    for out in (tmp_path / "m", with_tag_tokens[0]):
        with Annotator.load(out, device="cpu") as ner:
            vocabulary = ner.backend.vocabulary  # type: ignore[union-attr]
            controls = vocabulary.control_by_bytes
            sizes.append(1 if b"<drug>" in controls else len(vocabulary.encode("<drug>")))
            assert ner.annotate("Avoid lithium.").failure is None
    assert sizes[0] > sizes[1] == 1


def test_a_tag_begins_as_the_mean_of_what_spelt_it(folder: Path) -> None:
    chosen = settings(folder, full=True, tag_tokens=True)
    config, tokenizer = load_tokenizer(chosen.model)
    n_before = len(tokenizer)
    spellings = add_tag_tokens(config, tokenizer, DDI)
    assert len(tokenizer) == n_before + 8 == n_before + len(spellings)
    adapted = load_whole(chosen, tokenizer, spellings, device=torch.device("cpu"), checkpointing=False)
    weight = adapted.loaded.model.get_input_embeddings().weight
    assert adapted.loaded.config.vocab_size == weight.shape[0] >= len(tokenizer)
    tag = weight[tokenizer.convert_tokens_to_ids("<group>")]
    assert torch.allclose(tag, weight[spellings["<group>"]].mean(dim=0))
    trained, everything = adapted.parameter_counts()
    assert trained == everything


def test_the_memory_of_all_weights_is_estimated(folder: Path) -> None:
    chosen = settings(folder, full=True)
    config, tokenizer = load_tokenizer(chosen.model)
    adapted = load_whole(chosen, tokenizer, {}, device=torch.device("cpu"), checkpointing=False)
    _, n_all = adapted.parameter_counts()
    sizes: dict[str, Any] = {"checkpointing": False, "dropout": False, "on_gpu": False}
    load = Workload(8, None, 4, n_sequences=4, n_tokens=800, n_columns=200, n_whole=4, full=True, **sizes)
    found = estimate(ModelShape.of(config), load)
    assert (found.weights, found.adapter) == (4 * n_all, 12 * n_all)
    ways = list(savings(ModelShape.of(config), load))
    assert not any("--rank" in way or "--quantize" in way for way in ways)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tag_tokens": True}, UserError, "--tag-tokens needs --full"),
        ({"full": True, "quantize": "4bit"}, UserError, "--full trains all weights"),
        ({"also": Path("x.jsonl")}, UserError, "--also and --also-types go together"),
        ({"also_types": {"GENE": "none"}}, UserError, "--also and --also-types go together"),
    ],
)
def test_what_does_not_go_together_is_named(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        finetune(settings(folder, **changes), tmp_path / "a", lambda line: None)
    assert not (tmp_path / "a").exists()


def test_a_gguf_file_takes_an_adapter_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="--full needs a model in transformers' format"):
        finetune(
            settings(folder, model=str(tmp_path / "m.gguf"), full=True), tmp_path / "a", lambda line: None
        )


def test_another_corpus_adds_what_it_knows(folder: Path, tmp_path: Path) -> None:
    also = tmp_path / "genes.jsonl"
    lines = [
        {"text": "BRAF binds tyrosine.", "entities": [{"start": 0, "end": 4, "type": "GENE"}]},
        {"text": "No name at all here.", "entities": []},
    ]
    also.write_text("".join(json.dumps(line) + "\n" for line in lines))
    chosen = {"also": also, "max_steps": 2, "limit_val": 2}
    said: list[str] = []
    record = finetune(
        settings(folder, also_types={"GENE": "none", "*": "none"}, **chosen), tmp_path / "a", said.append
    )
    assert (record.n_examples, record.n_also) == (160, 2)
    assert any("genes.jsonl: 2 more examples" in line for line in said)
    with pytest.raises(SchemaError, match="no meaning for its type GENE"):
        finetune(settings(folder, also_types={"CELL": "none"}, **chosen), tmp_path / "b", lambda line: None)
