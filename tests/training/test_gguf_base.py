"""A GGUF file as the base of an adapter, which llama.cpp then adds to this very file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning import settings

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from constrained_ner import Annotator
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend
from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.backends.transformers.backend import TransformersBackend
from constrained_ner.errors import ModelError
from constrained_ner.export.to_gguf import export_model
from constrained_ner.files import file_hash
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.training.finetune.run import finetune


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    """The tiny model as a GGUF file in Q8_0, so that the dequantised weights are not the original ones."""
    path = folder / "base.gguf"
    export_model(str(folder / "model"), path, type="q8_0")
    return path


@pytest.fixture(scope="module")
def tuned_on_gguf(folder: Path, base: Path) -> tuple[Path, list[str]]:
    lines: list[str] = []
    changes = {"model": str(base), "batch": None, "batch_tokens": 600, "epochs": 4}
    finetune(settings(folder, **changes), folder / "on-gguf", lines.append)
    return folder / "on-gguf", lines


def test_an_adapter_marks_the_same_as_peft_and_as_gguf(
    folder: Path, base: Path, tuned_on_gguf: tuple[Path, list[str]]
) -> None:
    out, _ = tuned_on_gguf
    sentences = [s for document in read_ddi(folder / "val.xml") for s in document]
    found = []
    for options in (
        {"adapter": str(out), "device": "cpu"},
        {"lora": str(out / "adapter.gguf"), "threads": 1},
    ):
        with Annotator.load(base, **options) as ner:
            run = ner.run(sentences)
            found.append([(a.sentence.id, m.spans, m.type) for a in run for m in a.sentence.mentions])
    assert found[0] == found[1]
    record = json.loads((out / "training.json").read_text())
    assert record["best"]["eval_micro_f1"] > 0.5


def test_the_card_names_the_file(base: Path, tuned_on_gguf: tuple[Path, list[str]]) -> None:
    out, lines = tuned_on_gguf
    card = json.loads((out / "constrained-ner.json").read_text())
    assert card["base_model"] == {"name": str(base), "sha256": file_hash(base), "commit": None}
    assert any("tokens/s" in line for line in lines) or len(lines) > 5
    assert not any("chat template" in line for line in lines)  # this one has a template


def test_tokens_are_those_of_llama_cpp_and_logits_nearly(base: Path) -> None:
    backend, other = TransformersBackend(str(base), device="cpu"), LlamaCppBackend(base, threads=1)
    assert backend.vocabulary.token_bytes == load_vocabulary(base).token_bytes
    assert backend.chat_template == other.chat_template
    assert not hasattr(backend.loaded.model.config, "quantization_config")
    ids = backend.vocabulary.encode("Patients who take diuretics should avoid lithium.")
    logits = []
    for each in (backend, other):
        each.prefill(ids[:1])
        [answers] = each.forward([Step(0, 0, ids[1:], [range(len(each.vocabulary))] * (len(ids) - 1))])
        logits.append(np.stack([scores.logits for scores in answers if isinstance(scores, Scores)]))
    # llama.cpp rounds activations to eight bits before a product with Q8_0.
    np.testing.assert_allclose(*logits, atol=0.05 * float(np.abs(logits[0]).max()))


def test_what_a_gguf_base_cannot_do(base: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded with --quantize"):
        TransformersBackend(str(base), quantize="4bit")
    with pytest.raises(ModelError, match="a GGUF file already"):
        export_model(str(base), tmp_path / "again.gguf")
    with pytest.raises(ModelError, match=r"missing\.gguf: no such model file"):
        finetune(settings(folder, model=str(tmp_path / "missing.gguf")), tmp_path / "out", lambda line: None)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(base.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"damaged\.gguf"):
        finetune(settings(folder, model=str(damaged)), tmp_path / "out", lambda line: None)


def test_the_precision_of_the_weights_is_that_asked_for(base: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        backend = TransformersBackend(str(base), device="cpu", dtype=dtype)
        assert {p.dtype for p in backend.loaded.model.parameters()} == {getattr(torch, dtype)}
        assert backend.loaded.identity() == {"sha256": file_hash(base)}


def test_a_base_without_a_chat_template_is_written_to_in_lines(folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(folder / "model", plain)
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    base = tmp_path / "plain.gguf"
    export_model(str(plain), base, type="f16")
    lines: list[str] = []
    changes = {"model": str(base), "max_steps": 1, "limit_val": 2, "prompt": "bare"}
    finetune(settings(folder, **changes), tmp_path / "out", lines.append)
    assert [line for line in lines if "no chat template" in line] == [
        f"{base}: has no chat template: messages are written one after another, a line each"
    ]
    with Annotator.load(base, lora=str(tmp_path / "out" / "adapter.gguf"), threads=1) as ner:
        assert ner.choices()["prompt"] == "bare"
        ner.annotate("Patients who take diuretics should avoid lithium.")
    with pytest.warns(UserWarning, match="no chat template, so the model is asked in plain text"):
        Annotator.load(base, threads=1).close()
