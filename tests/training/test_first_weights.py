"""A model's first weights: they copy before any training, and its rows know what a large model knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from tiny_models import SENTENCES

from constrained_ner.schema import DDI
from constrained_ner.training.batches import make_batch
from constrained_ner.training.bundled_model.copying import random_copies
from constrained_ner.training.bundled_model.copying_weights import copying_weights
from constrained_ner.training.bundled_model.first_rows import first_rows, reduced, rows_read_by
from constrained_ner.training.bundled_model.model import ModelSize, new_model
from constrained_ner.training.bundled_model.save import save_gguf, save_transformers
from constrained_ner.training.bundled_model.tokenizer import SEPARATOR, ModelTokenizer, train_tokenizer

SIZE = ModelSize(n_hidden=128, n_layers=3, n_heads=2, n_feed_forward=128, n_context=256)


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return train_tokenizer(SENTENCES, size=600)


def share_copied(model: object, tokenizer: ModelTokenizer, length: int) -> float:
    """The share of a copy's tokens that the model would write itself."""
    examples = random_copies(
        20,
        length,
        n_text_tokens=tokenizer.n_text_tokens,
        separator=tokenizer.control(SEPARATOR),
        end=tokenizer.end,
        tags=tokenizer.tags(DDI),
        rng=np.random.default_rng(0),
    )
    batch = make_batch(examples, tokenizer.pad)
    with torch.no_grad():
        hidden = model.model(input_ids=torch.from_numpy(batch.ids)).last_hidden_state.flatten(0, 1)  # type: ignore[attr-defined]
        written = (hidden[batch.answer] @ model.lm_head.weight.T).argmax(-1)  # type: ignore[attr-defined]
    return float((written.numpy() == batch.next_ids[batch.answer]).mean())


@pytest.mark.parametrize("length", [10, 40])
def test_untrained_weights_copy(tokenizer: ModelTokenizer, length: int) -> None:
    torch.manual_seed(0)
    model = new_model(SIZE, tokenizer).eval()
    assert share_copied(model, tokenizer, length) < 0.1
    copying_weights(model)
    assert share_copied(model, tokenizer, length) > 0.4


def test_copying_weights_keep_what_the_rows_say_of_each_other(tokenizer: ModelTokenizer) -> None:
    torch.manual_seed(0)
    model = new_model(SIZE, tokenizer)
    before = model.model.embed_tokens.weight.detach().clone()
    copying_weights(model)
    after = model.model.embed_tokens.weight.detach()
    alike = [torch.corrcoef(w[:50] - w.mean(0)).flatten() for w in (before, after)]
    assert torch.corrcoef(torch.stack(alike))[0, 1] > 0.98
    assert after.norm(dim=1).std() < 1e-4


def test_principal_components_keep_distances_in_order() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 3)).astype(np.float32)
    states = hidden @ rng.normal(size=(3, 40)).astype(np.float32)
    rows = reduced(states, 8)
    assert rows.shape == (200, 8)
    assert np.abs(rows[:, :5]).max() < 1e-3  # there are three properties, so the other columns are empty
    assert (rows**2).mean() ** 0.5 == pytest.approx(0.02, rel=1e-3)


def test_rows_are_read_by_a_large_model(tokenizer: ModelTokenizer) -> None:
    torch.manual_seed(0)
    reader = new_model(ModelSize(48, 3, 2, 64, 128), tokenizer).eval()
    rows = first_rows(tokenizer, reader, tokenizer.vocabulary, [tokenizer.end], 32)
    assert rows.shape == (tokenizer.n_tokens, 32)
    assert torch.isfinite(rows).all()
    again = first_rows(tokenizer, reader, tokenizer.vocabulary, [tokenizer.end], 32)
    assert torch.equal(rows, again)
    assert len(torch.unique(rows, dim=0)) > 0.95 * tokenizer.n_tokens


def test_rows_come_from_a_folder_or_a_gguf_file(tokenizer: ModelTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    reader = new_model(ModelSize(64, 2, 2, 64, 128), tokenizer).eval()
    reader.config.bos_token_id = 1  # what transformers takes a GGUF file to say that says nothing
    save_transformers(reader, tokenizer, tmp_path / "reader")
    save_gguf(reader, tokenizer, tmp_path / "reader.gguf", precision="f32")
    of_folder = rows_read_by(str(tmp_path / "reader"), None, tokenizer, 32)
    of_file = rows_read_by(str(tmp_path / "reader.gguf"), None, tokenizer, 32)
    assert of_folder.shape == (tokenizer.n_tokens, 32)
    torch.testing.assert_close(of_file @ of_file.T, of_folder @ of_folder.T, atol=1e-3, rtol=1e-2)
