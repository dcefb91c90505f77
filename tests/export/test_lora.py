"""An exported LoRA is loaded with its base, and brings what it was trained for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

peft = pytest.importorskip("peft")
gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

import tiny_instruct  # noqa: E402
from exportable_models import (  # noqa: E402
    CHAT_TEMPLATE,
    write_model,
)
from exporting import (  # noqa: E402
    IDS,
    ModelOf,
    assert_equal,
    expected_logits,
    gguf_logits,
    logits_of,
    write_adapter,
)
from gguf_tokenizers import read_metadata  # noqa: E402

from constrained_ner.adapters import AdapterCard  # noqa: E402
from constrained_ner.annotation.annotator import Annotator  # noqa: E402
from constrained_ner.backends import load_backend  # noqa: E402
from constrained_ner.backends.gguf_file import ADAPTER_KEY  # noqa: E402
from constrained_ner.backends.llamacpp.backend import LlamaCppBackend  # noqa: E402
from constrained_ner.backends.temperature import TEMPERATURE_KEY, store_temperature  # noqa: E402
from constrained_ner.backends.transformers.backend import TransformersBackend  # noqa: E402
from constrained_ner.backends.transformers.model import hash_of_folder  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402
from constrained_ner.export.to_gguf import export_lora, export_model  # noqa: E402
from constrained_ner.files import file_hash  # noqa: E402
from constrained_ner.prompting.wording import PromptFile  # noqa: E402
from constrained_ner.schema import DDI  # noqa: E402
from constrained_ner.training.bundled_model.tokenizer import CHEMICAL  # noqa: E402


def test_a_lora_is_loaded_with_its_base(model_of: ModelOf, tmp_path: Path) -> None:
    plain, lora, strange = (tmp_path / f"{name}.gguf" for name in ("plain", "lora", "strange"))
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    export_model(str(model_of("llama")), plain)
    export_lora(str(model_of("llama")), str(adapter), lora, type="f16")
    export_lora(str(model_of("qwen2")), str(write_adapter(tmp_path / "other", model_of("qwen2"))), strange)
    about = LlamaCppBackend(plain, threads=1, lora=lora).description
    assert about["lora"] == "lora.gguf"
    assert about["lora_sha256"] == file_hash(lora)
    with pytest.raises(ModelError, match=r"strange\.gguf: not a LoRA for .*plain\.gguf: .*arch mismatch"):
        LlamaCppBackend(plain, lora=strange)
    with pytest.raises(ModelError, match=r"plain\.gguf: not a LoRA for"):
        LlamaCppBackend(plain, lora=plain)
    with pytest.raises(ModelError, match=r"lora\.gguf: a LoRA, not a model; load its base model and pass"):
        LlamaCppBackend(lora)
    with pytest.raises(ModelError, match="a transformers model does not take the option 'lora'"):
        load_backend(model_of("llama"), lora=str(lora))
    # A growing cache needs a new context, which must have the LoRA too.
    backend = LlamaCppBackend(plain, threads=1, lora=lora)
    long = [*IDS] * 8
    np.testing.assert_allclose(
        logits_of(backend, long)[-1],
        logits_of(TransformersBackend(str(model_of("llama")), adapter=str(adapter)), long)[-1],
        atol=0.02,
    )


def test_what_an_adapter_was_trained_for_goes_with_it(model_of: ModelOf, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", model_of("llama"))
    card = card_for(model_of("llama"))
    card.save(adapter)
    store_temperature(adapter, 1.5)
    export_model(str(model_of("llama")), tmp_path / "merged.gguf", adapter=str(adapter))
    export_lora(str(model_of("llama")), str(adapter), tmp_path / "lora.gguf")
    for name in ("merged", "lora"):
        fields = read_metadata(tmp_path / f"{name}.gguf")
        assert AdapterCard.parse(fields[ADAPTER_KEY], name) == card
        assert fields[TEMPERATURE_KEY] == 1.5
    export_model(str(model_of("llama")), tmp_path / "plain.gguf")
    for model, lora in (("merged", None), ("plain", tmp_path / "lora.gguf")):
        path = tmp_path / f"{model}.gguf"
        ner = Annotator.load(path, lora=lora, threads=1)
        assert ner.schema == CHEMICAL
        assert ner.backend.temperature == 1.5
        with pytest.raises(ModelError, match="with the entity types chemical, this run uses drug, "):
            Annotator.load(path, lora=lora, threads=1, schema=DDI)
        assert Annotator.load(path, lora=lora, threads=1, schema=DDI, force=True).schema == DDI


@pytest.mark.parametrize("family", sorted(tiny_instruct.FAMILIES))
def test_the_example_of_every_family_can_be_exported(family: str, tmp_path: Path) -> None:
    model = tiny_instruct.make_tiny_instruct(tmp_path / "model", family=family, num_hidden_layers=2)
    export_model(str(model), tmp_path / "x.gguf", type="f32")
    assert_equal(gguf_logits(tmp_path / "x.gguf"), expected_logits(model), family, "f32")


def test_an_adapter_for_another_base(model_of: ModelOf, tmp_path: Path) -> None:
    """The other base has the same shapes, and differs only in its identity."""
    base, other = str(model_of("llama")), str(write_model(tmp_path / "other", "llama", seed=7))
    adapter = str(write_adapter(tmp_path / "adapter", model_of("llama")))
    card_for(model_of("llama")).save(Path(adapter))
    plain, lora, merged = (tmp_path / f"{name}.gguf" for name in ("plain", "lora", "merged"))
    differs = (
        r"adapter: the adapter was trained with base model .* \([0-9a-f]{12}\), "
        r"this run uses .* \([0-9a-f]{12}\); pass --force to use it anyway$"
    )
    with pytest.raises(ModelError, match=differs):
        export_model(other, merged, adapter=adapter)
    with pytest.raises(ModelError, match=differs):
        export_lora(other, adapter, lora)
    assert not merged.exists()
    export_model(other, merged, adapter=adapter, force=True)
    export_lora(base, adapter, lora)
    export_model(other, plain, type="q8_0")
    with pytest.raises(ModelError, match=differs.replace("adapter:", r"lora\.gguf:")):
        Annotator.load(plain, lora=lora, threads=1)
    Annotator.load(plain, lora=lora, threads=1, force=True).close()
    with pytest.raises(ModelError, match=r"merged\.gguf contains an adapter already"):
        Annotator.load(merged, lora=lora, threads=1, force=True)


def card_for(base: Path) -> AdapterCard:
    model = {"name": str(base), "sha256": hash_of_folder(base)}
    return AdapterCard.of(model, CHEMICAL, PromptFile.built_in(), CHAT_TEMPLATE)
