"""The exported model: llama.cpp and transformers read the same tokens and compute the same logits."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from extra_buffers import without_extra_buffers

from constrained_ner.errors import ModelError
from constrained_ner.export.families import permuted
from constrained_ner.training.bundled_model.model import ModelSize, new_model
from constrained_ner.training.bundled_model.save import gguf_name, save_gguf, save_transformers
from constrained_ner.training.bundled_model.tokenizer import (
    CHAT_TEMPLATE,
    ModelTokenizer,
    control_tokens,
    train_tokenizer,
)

TEXTS = [
    "Effect of aspirin on beta-blockers in patients with heart failure.",
    "Naïve cells – 50 µg/mL of cefotaxime –\n\n were  unaffected\t by <drug>MPTP</drug><|end|>. ",
    "don't l'été e\u0301 😀 #12,000 \u00a0x \u200b[3H]-ouabain >< ",
]
SIZE = ModelSize(n_hidden=64, n_layers=2, n_heads=2, n_feed_forward=96, n_context=128)


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return train_tokenizer(TEXTS * 10, size=400)


@pytest.fixture(scope="module")
def model(tokenizer: ModelTokenizer) -> torch.nn.Module:
    torch.manual_seed(0)
    return new_model(SIZE, tokenizer).eval()


def test_names_and_row_order_follow_the_converter() -> None:
    assert gguf_name("layers.3.mlp.up_proj.weight", n_layers=4) == "blk.3.ffn_up.weight"
    rows = np.arange(8)[:, None]
    # Two heads of four rows: halves (0 1)(2 3) become pairs (0 2)(1 3).
    assert permuted(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_metadata(model: torch.nn.Module, tokenizer: ModelTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    save_gguf(model, tokenizer, path)
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert fields["general.license"] == "cc-by-nc-4.0"
    controls = [
        text
        for text, kind in zip(
            fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True
        )
        if kind == gguf.TokenType.CONTROL
    ]
    assert controls == control_tokens()
    assert not (tmp_path / "m.gguf.partial").exists()


def test_other_architectures_are_refused(tokenizer: ModelTokenizer, tmp_path: Path) -> None:
    model = new_model(SIZE, tokenizer)
    model.config.model_type = "mamba"
    with pytest.raises(ModelError, match="only a Llama"):
        save_gguf(model, tokenizer, tmp_path / "m.gguf")


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-3), ("f16", 5e-3), ("q8_0", 5e-2)])
def test_llama_cpp_agrees(
    model: torch.nn.Module, tokenizer: ModelTokenizer, tmp_path: Path, precision: str, tolerance: float
) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    path = tmp_path / "m.gguf"
    save_gguf(model, tokenizer, path, precision=precision)
    with without_extra_buffers():
        llama = llama_cpp.Llama(
            str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1, n_threads_batch=1
        )
    for text in TEXTS:
        ids = tokenizer.vocabulary.encode(text)
        assert llama.tokenize(text.encode(), add_bos=False, special=False) == ids
        llama.reset()
        llama.eval(ids)
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].numpy()
        np.testing.assert_allclose(llama.scores[: len(ids)], expected, atol=tolerance)
    llama.close()


def test_transformers_reads_it_back(
    model: torch.nn.Module, tokenizer: ModelTokenizer, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_transformers(model, tokenizer, tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    wrapped = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer.vocabulary.encode(TEXTS[0])
    with torch.no_grad():
        # It may use another attention kernel than in training.
        assert torch.allclose(
            loaded(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits, atol=1e-5
        )
    messages = [{"role": "system", "content": "ignored"}, {"role": "user", "content": "on aspirin "}]
    assert wrapped.apply_chat_template(messages, tokenize=False) == "on aspirin <|sep|>"
    assert wrapped.eos_token_id == tokenizer.end
