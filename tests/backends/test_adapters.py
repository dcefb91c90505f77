"""Adapters as people save them: each gives the answers that peft gives, merged or not, or is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import write_transformers

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from constrained_ner.backends.protocol import Step  # noqa: E402
from constrained_ner.backends.transformers.backend import TransformersBackend  # noqa: E402
from constrained_ner.backends.transformers.messages import quiet  # noqa: E402
from constrained_ner.errors import ModelError  # noqa: E402

IDS = [40, 50, 60, 70, 80, 90, 100, 110]
N_WATCHED = 200
PROJECTIONS = ["q_proj", "v_proj"]
WEIGHTS = "adapter_model.safetensors"

Logits = NDArray[np.float32]


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformers(tmp_path_factory.mktemp("tied"), "llama", tie_word_embeddings=True)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def base_of(path: Path) -> Any:
    with quiet():
        return transformers.AutoModelForCausalLM.from_pretrained(path)


def shaken(adapted: Any) -> Any:
    """The adapter with random numbers everywhere, so that it has a large effect."""
    torch.manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return adapted


def write(base: Path, folder: Path, config: Any, change: Callable[[Any], None] | None = None) -> Path:
    model = base_of(base)
    if change is not None:
        change(model)
    with quiet(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        shaken(peft.get_peft_model(model, config)).save_pretrained(folder)
    return folder


def lora(**changes: Any) -> Any:
    options: dict[str, Any] = {"r": 4, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM", **changes}
    return peft.LoraConfig(**options)


def logits(base: Path, adapter: Path | None, merge: bool | None) -> Logits:
    backend = TransformersBackend(
        str(base), adapter=None if adapter is None else str(adapter), merge=merge, device="cpu"
    )
    backend.prefill([])
    watched = list(range(N_WATCHED))
    (scores,) = backend.forward([Step(0, 0, IDS, [watched] * len(IDS))])
    backend.close()
    return np.stack([each.logits for each in scores if each is not None])


def truth(base: Path, adapter: Path, n_rows: int | None = None) -> Logits:
    model = base_of(base)
    if n_rows is not None:
        with quiet():
            model.resize_token_embeddings(n_rows)
    with quiet(), torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(model, str(adapter)).eval()
        found: Logits = adapted(input_ids=torch.tensor([IDS])).logits[0, :, :N_WATCHED].numpy()
    return found


def assert_as_peft(base: Path, adapter: Path, merge: bool | None, n_rows: int | None = None) -> None:
    found, expected = logits(base, adapter, merge), truth(base, adapter, n_rows)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found - logits(base, None, None)).max() > 0.01


def refusal(base: Path, adapter: Path, merge: bool | None = None) -> str:
    with pytest.raises(ModelError) as error:
        logits(base, adapter, merge)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{adapter}: ")
    return message


USABLE: dict[str, Callable[[], Any]] = {
    "plain": lora,
    "all_biases": lambda: lora(bias="all"),
    "dora": lambda: lora(use_dora=True),
    "rank_stabilised": lambda: lora(use_rslora=True),
    "output_layer_saved": lambda: lora(modules_to_save=["lm_head"]),
    "single_tokens": lambda: lora(trainable_token_indices=[20, 21]),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        task_type="CAUSAL_LM",
    ),
}
NOT_MERGEABLE: dict[str, Callable[[], Any]] = {
    "tied_input": lambda: lora(target_modules=[*PROJECTIONS, "embed_tokens"]),
    "tied_output": lambda: lora(target_modules=[*PROJECTIONS, "lm_head"]),
    "lora_bias": lambda: lora(lora_bias=True),
}


@pytest.mark.parametrize("kind", USABLE)
def test_adapters_that_are_no_plain_lora_answer_as_in_peft(tied: Path, tmp_path: Path, kind: str) -> None:
    adapter = write(tied, tmp_path / "adapter", USABLE[kind]())
    for merge in (None, True, False):
        assert_as_peft(tied, adapter, merge)


@pytest.mark.parametrize("kind", NOT_MERGEABLE)
def test_what_cannot_be_merged_truly_is_not_merged(tied: Path, tmp_path: Path, kind: str) -> None:
    """LoRA on tied embeddings, and biases where the model has none: merged, they would answer otherwise."""
    adapter = write(tied, tmp_path / "adapter", NOT_MERGEABLE[kind]())
    for merge in (None, False):
        assert_as_peft(tied, adapter, merge)
    assert "cannot be merged: it " in refusal(tied, adapter, merge=True)


def test_adapters_with_more_rows_than_the_tokenizer(tied: Path, tmp_path: Path) -> None:
    n_rows = base_of(tied).get_input_embeddings().num_embeddings + 7
    adapter = write(tied, tmp_path / "adapter", lora(), lambda model: model.resize_token_embeddings(n_rows))
    for merge in (None, False):
        assert_as_peft(tied, adapter, merge, n_rows)


def test_a_learnt_prompt_is_refused(tied: Path, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")
    adapter = write(tied, tmp_path / "adapter", config)
    for merge in (None, False):
        assert "a learnt prompt (PROMPT_TUNING) cannot be used" in refusal(tied, adapter, merge)


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key.replace("base_model.model.", ""),
        lambda key: key.replace("self_attn", "attention"),
        lambda key: key.replace("layers.1", "layers.9"),
    ],
)
def test_an_adapter_whose_weights_fit_nothing_is_refused(
    tied: Path, tmp_path: Path, rename: Callable[[str], str]
) -> None:
    adapter = write(tied, tmp_path / "adapter", lora())
    weights = {rename(key): value for key, value in load_file(adapter / WEIGHTS).items()}
    save_file(weights, adapter / WEIGHTS, metadata={"format": "pt"})
    for merge in (None, False):
        assert "weights do not fit the model, for instance " in refusal(tied, adapter, merge)


def test_an_adapter_with_missing_weights_is_refused(tied: Path, tmp_path: Path) -> None:
    adapter = write(tied, tmp_path / "adapter", lora())
    weights = load_file(adapter / WEIGHTS)
    weights.pop(min(weights))
    save_file(weights, adapter / WEIGHTS, metadata={"format": "pt"})
    assert "1 weights are missing, for instance base_model.model." in refusal(tied, adapter)


def test_pickles_run_folders_and_damaged_configurations_are_named(tied: Path, tmp_path: Path) -> None:
    adapter = write(tied, tmp_path / "run" / "checkpoint-20", lora())
    shutil.copytree(adapter, tmp_path / "pickle")
    (tmp_path / "pickle" / WEIGHTS).rename(tmp_path / "pickle" / "adapter_model.bin")
    assert "the weights are a pickle (adapter_model.bin)" in refusal(tied, tmp_path / "pickle")
    assert refusal(tied, tmp_path / "run").endswith(f"the newest in it is {adapter}")
    (adapter / "adapter_config.json").write_text("{")
    assert "adapter_config.json is damaged" in refusal(tied, adapter)


def test_a_base_that_is_4_bit_on_disk_is_not_merged_unless_asked(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    quantised = tmp_path / "nf4"
    base = write_transformers(tmp_path / "base", "llama", hidden_size=64, intermediate_size=128)
    config = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(base, quantization_config=config)
        model.save_pretrained(quantised)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, quantised)
    adapter = write(base, tmp_path / "adapter", lora())
    by_default = logits(quantised, adapter, None)
    assert np.array_equal(by_default, logits(quantised, adapter, False))
    assert not np.allclose(by_default, logits(quantised, adapter, True), atol=1e-3)
