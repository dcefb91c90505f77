"""The losses of fine-tuning equal what decoding and the model itself compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from finetuning import SMALL, mention, target_writer
from tiny_instruct import make_tiny_instruct
from torch.nn.functional import cross_entropy

from constrained_ner.backends.protocol import Step
from constrained_ner.backends.transformers.backend import TransformersBackend
from constrained_ner.data import Sentence
from constrained_ner.decoding.answer import choose, is_decision
from constrained_ner.errors import (
    ModelError,
)
from constrained_ner.training.batches import Example, make_batch
from constrained_ner.training.finetune.adapter import Lora, load_for_training
from constrained_ner.training.finetune.trainer import collate
from constrained_ner.training.losses import Loss, Question, Weights, batch_losses
from constrained_ner.training.output_rows import check_output_layer, cross_entropies


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gemma2: its logits are capped after the output layer."""
    folder = tmp_path_factory.mktemp("losses")
    capped = {"final_logit_softcapping": 1.5} if request.param == "gemma2" else {}
    make_tiny_instruct(folder / "model", family=request.param, initializer_range=0.3, **SMALL, **capped)
    return folder


def test_the_legal_loss_is_what_decoding_computes(model: Path) -> None:
    targets = target_writer(model)
    text = "Aspirin <5 mg/kg and oral contraceptives raise benzo(a)pyrene. "
    mentions = [mention(text, "Aspirin", "drug"), mention(text, "oral contraceptives", "group")]
    example = targets.write(Sentence("s", text, tuple(mentions)))
    adapted = load_for_training(
        str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=True
    )
    losses = losses_of(adapted, [example, targets.write(Sentence("s", "Take aspirin."))], "legal")
    legal = targets.tokens.of(text)
    backend = TransformersBackend.around(replace(adapted.loaded))
    backend.prefill(example.ids[: example.n_prompt - 1])
    state, expected = legal.constraint.start, []
    after = zip(example.ids[example.n_prompt - 1 :], example.ids[example.n_prompt :], strict=False)
    for n_cached, (before, token_id) in enumerate(after):
        tokens = legal.legal(state)
        (scores,) = backend.forward([Step(0, n_cached, [before], [tuple(tokens)])])[0]
        if is_decision(tokens):
            assert scores is not None
            best = choose(tokens, scores)  # decoding scores the best token; ours may be another
            behind = scores.logits[[*tokens].index(token_id)] - scores.logits[[*tokens].index(best.token_id)]
            expected.append(-(best.log_probability + float(behind)))
        state = tokens[token_id]
    assert len(expected) == len(example.decisions) > 8
    assert losses[: len(expected)].tolist() == pytest.approx(expected, abs=2e-5)


def test_completion_is_the_model_s_own_loss(model: Path) -> None:
    targets = target_writer(model)
    aspirin = mention("Take aspirin.", "aspirin", "drug")
    example = targets.write(Sentence("s", "Take aspirin.", (aspirin,)))
    adapted = load_for_training(
        str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=False
    )
    ids = torch.tensor([example.ids])
    labels = ids.clone()
    labels[:, : example.n_prompt] = -100
    theirs = adapted.peft(input_ids=ids, labels=labels).loss.detach()
    ours = losses_of(adapted, [example], "completion")
    assert len(ours) == len(example.ids) - example.n_prompt
    assert float(ours.mean()) == pytest.approx(float(theirs), abs=1e-5)


def test_only_end_tokens_need_the_whole_vocabulary(model: Path) -> None:
    targets = target_writer(model)
    examples = [targets.write(Sentence("s", "Take aspirin and wait.")) for _ in range(3)]
    adapted = load_for_training(
        str(model / "model"), Lora(), quantize=None, device=torch.device("cpu"), checkpointing=False
    )
    seen: list[int] = []
    hook = adapted.head.register_forward_hook(lambda module, inputs, output: seen.append(output.numel()))
    losses_of(adapted, examples, "legal")
    hook.remove()
    n_tokens = adapted.head.weight.shape[0]
    few = collate([examples], "legal", 0)["few"].numel()
    assert seen == [few + 3 * n_tokens]


@pytest.mark.parametrize("kind", ["PhiConfig", "GraniteConfig", "CohereConfig"])
def test_bias_and_scaled_logits_are_included(kind: str) -> None:
    """Phi has a bias in its output layer; Granite and Cohere scale their logits."""
    scales = {"GraniteConfig": {"logits_scaling": 4.0}, "CohereConfig": {"logit_scale": 0.25}}
    config = getattr(transformers, kind)(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, pad_token_id=0, bos_token_id=None, eos_token_id=1, **scales.get(kind, {}),
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    head = model.get_output_embeddings()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.3 * torch.randn_like(weights))
    ids = torch.randint(50, (2, 6))
    few = torch.tensor([[3, 4, 5], [7, 8, -1]])
    question = Question(
        few_at=torch.tensor([1, 9]),
        few=few,
        few_outcomes=torch.tensor([[0, 0, 1], [0, 1, -1]]),
        few_expected=torch.tensor([[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]]),
        whole_at=torch.tensor([4]),
        whole=torch.tensor([6]),
    )
    with torch.no_grad():
        rows = model(input_ids=ids).logits.flatten(0, 1).log_softmax(-1)
        found = cross_entropies(model, head, ids, question)
    expected = [
        rows[1, [3, 4, 5]].logsumexp(0) - 0.75 * rows[1, [3, 4]].logsumexp(0) - 0.25 * rows[1, 5],
        rows[9, [7, 8]].logsumexp(0) - rows[9, 7],
        -rows[4, 6],
    ]
    assert found.tolist() == pytest.approx([float(e) for e in expected], abs=1e-5)


def test_a_quantised_output_layer_is_refused() -> None:
    head = torch.nn.Linear(4, 4)
    head.weight = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ModelError, match="m: the output layer is quantised"):
        check_output_layer(head, "m")


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")  # peft's own, before our error
def test_an_adapter_on_the_output_layer_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="model: the adapter covers the output layer"):
        load_for_training(
            str(folder / "model"),
            Lora(4, 8, 0.0, "q_proj,lm_head"),
            quantize=None,
            device=torch.device("cpu"),
            checkpointing=False,
        )


def losses_of(adapted: Any, examples: Any, loss: Loss) -> torch.Tensor:
    batch = collate([examples], loss, pad=0)
    question = Question.among(batch)
    return cross_entropies(adapted.peft, adapted.head, batch["input_ids"], question).detach()


def test_the_vocabulary_of_a_batch_is_what_it_has() -> None:
    rows, hidden = torch.randn(9, 4), torch.randn(4, 4)
    batch = make_batch([Example((2, 5, 7, 5), 1)], pad=0)
    model = SimpleNamespace(
        lm_head=SimpleNamespace(weight=rows),
        model=lambda **_: SimpleNamespace(last_hidden_state=hidden[None]),
    )
    weights = Weights(decision=0.0, prompt=0.0, answer=1.0, share=1.0, of_batch=True)
    found = batch_losses(model, batch, weights, np.random.default_rng(0)).answer
    logits = hidden[:3] @ rows[[2, 5, 7]].T
    assert float(found) == pytest.approx(float(cross_entropy(logits, torch.tensor([1, 2, 1]))), abs=1e-5)
