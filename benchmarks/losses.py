"""Compares the losses of fine-tuning: peak memory, seconds per step, and F1 after the same number of steps.

    python benchmarks/losses.py [--vocabulary 128256] [--steps 3]

Memory and time are measured on a model with random weights and the vocabulary of Llama 3, each loss in its
own process: `legal` and `completion` as `bin/finetune` computes them, and `labels`, the loss that the model
itself computes from labels, as most training scripts do. F1 is measured on a tiny model and sentences from
templates (examples/), which either loss can learn in a few minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from constrained_ner.training.batches import Decision, Example
from constrained_ner.training.finetune.folder import FinetuneSettings
from constrained_ner.training.finetune.run import finetune, peak_memory
from constrained_ner.training.finetune.trainer import collate
from constrained_ner.training.losses import Loss, Question
from constrained_ner.training.output_rows import cross_entropies

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

LOSSES = ("legal", "completion", "labels")
N_PROMPT, N_ANSWER, N_LEGAL = 320, 60, 5  # roughly as for a devel sentence with the plain prompt
DECIDE_EVERY = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--f1-steps", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", choices=LOSSES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    print(f"{options.batch} sentences of {N_PROMPT + N_ANSWER} tokens, vocabulary {options.vocabulary}")
    for loss in LOSSES:
        found = json.loads(_in_its_own_process(loss))
        print(
            f"{loss:11} step {found['step_s']:6.2f} s   peak {found['peak'] / 1e9:5.2f} GB   "
            f"above the loaded model {found['above'] / 1e9:5.2f} GB",
            flush=True,
        )
    for name in ("legal", "completion"):
        print(
            f"{name:11} F1 after {options.f1_steps} steps: {f1_after(name, options.f1_steps):.1%}", flush=True
        )


def _in_its_own_process(loss: str) -> str:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", loss]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure(loss: str, options: Any) -> dict[str, float]:
    """Measure the seconds of the fastest step, and the peak memory, with one loss."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    device = torch.device(options.device)
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=8,
        tie_word_embeddings=True,
    )
    base = LlamaForCausalLM(config).to(device)
    model = get_peft_model(base, LoraConfig(r=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimiser = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    examples = made_up_examples(options.batch, options.vocabulary)
    loaded = peak_memory(device)
    times = []
    for _ in range(options.steps):
        began = time.perf_counter()
        loss_of(model, loss, examples, device).backward()
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    peak = peak_memory(device)
    return {"step_s": min(times), "peak": peak, "above": peak - loaded}


def loss_of(model: Any, loss: str, examples: list[Example], device: torch.device) -> torch.Tensor:
    """Compute one of the three losses, ready for its backward pass."""
    if loss == "labels":
        ids = torch.tensor([e.ids for e in examples], device=device)
        labels = ids.clone()
        labels[:, :N_PROMPT] = -100
        found: torch.Tensor = model(input_ids=ids, labels=labels).loss
        return found
    kind: Loss = "legal" if loss == "legal" else "completion"
    batch = {name: array.to(device) for name, array in collate([examples], kind, 0).items()}
    question = Question.among(batch)
    head = model.get_base_model().get_output_embeddings()
    return cross_entropies(model, head, batch["input_ids"], question).mean()


def made_up_examples(n: int, n_tokens: int) -> list[Example]:
    """Make random tokens of the usual lengths, with as many decisions as real sentences have."""
    rng = torch.Generator().manual_seed(1)
    examples = []
    for _ in range(n):
        ids = torch.randint(n_tokens, (N_PROMPT + N_ANSWER,), generator=rng).tolist()
        others = torch.randint(n_tokens, (N_LEGAL - 1,), generator=rng).tolist()
        places = range(N_PROMPT, N_PROMPT + N_ANSWER - 1, DECIDE_EVERY)
        decisions = tuple(Decision(at, (ids[at], *others)) for at in places)
        examples.append(Example(tuple(ids), N_PROMPT, decisions))
    return examples


def f1_after(loss: Loss, n_steps: int) -> float:
    """Return the constrained micro F1 of the tiny model after `n_steps`."""
    from template_sentences import make_document, texts, write
    from tiny_instruct import make_tiny_instruct

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"num_hidden_layers": 2, "hidden_size": 64, "head_dim": 16, "intermediate_size": 128}
        make_tiny_instruct(folder / "model", **sizes)
        train = write(make_document(8 * n_steps, seed=1), folder / "train.xml")
        val = write(make_document(60, seed=2, without=texts(train)), folder / "val.xml")
        prompt = folder / "prompt.json"
        prompt.write_text('{"sysprompt": ["Mark the names: {tags}"], "usrprompt": ["{sentence}"]}')
        settings = FinetuneSettings(
            model=str(folder / "model"), train=train, val=val, prompt=str(prompt), loss=loss, device="cpu",
            rank=64, alpha=128, dropout=0.0, lr=3e-3, batch=8, grad_accum=1, epochs=1, max_steps=n_steps,
        )  # fmt: skip
        return finetune(settings, folder / "out", lambda line: None).best["eval_micro_f1"]


if __name__ == "__main__":
    main()
