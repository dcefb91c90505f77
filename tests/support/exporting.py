"""What the tests of export share: logits through both back ends, and adapters with random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray

from constrained_ner.backends.llamacpp.backend import LlamaCppBackend
from constrained_ner.backends.protocol import LogitsBackend, Scores, Step
from constrained_ner.backends.transformers.backend import TransformersBackend
from constrained_ner.export.families import FAMILIES

KINDS = list(FAMILIES)
IDS = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(0)).tolist()
N_SKIPPED = 3  # positions that are computed as a shared prefix, unwatched

ModelOf = Callable[[str], Path]


def logits_of(backend: LogitsBackend, ids: Sequence[int] = IDS) -> NDArray[np.float32]:
    """Shape: (positions after the first N_SKIPPED, tokens)."""
    backend.prefill(ids[:N_SKIPPED])
    every = range(len(backend.vocabulary))
    watched = list(ids[N_SKIPPED:])
    [answers] = backend.forward([Step(0, 0, watched, [every] * len(watched))])
    backend.close()
    return np.stack([scores.logits for scores in answers if isinstance(scores, Scores)])


def gguf_logits(path: Path, **options: Any) -> NDArray[np.float32]:
    return logits_of(LlamaCppBackend(path, threads=1, **options))


def expected_logits(folder: Path, adapter: Path | None = None) -> NDArray[np.float32]:
    """transformers in float32, an adapter merged by peft."""
    return logits_of(TransformersBackend(str(folder), adapter=adapter and str(adapter), device="cpu"))


def assert_equal(got: NDArray[np.float32], expected: NDArray[np.float32], kind: str, precision: str) -> None:
    """Check that logits are close, and that the best token is the same unless it is nearly tied.

    ggml looks up the GELU of the Gemma family in a float16 table, whatever the precision of the file.
    """
    tolerance = 0.02 if kind.startswith("gemma") else 0.01 if precision == "f16" else 1e-4
    np.testing.assert_allclose(got, expected, atol=tolerance)
    top = np.sort(expected, axis=-1)
    decided = top[:, -1] - top[:, -2] > 2 * tolerance
    assert decided.mean() > 0.5
    assert (got.argmax(-1) == expected.argmax(-1))[decided].all()


def write_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """Write a LoRA with random weights in both factors, so that it has a large effect."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    chosen = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # among libraries
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **chosen | settings))
    for name in settings.get("modules_to_save") or ():
        for parameter_name, weights in adapted.named_parameters():
            if f"{name}.modules_to_save" in parameter_name:
                weights.data.add_(0.05 * torch.randn(weights.shape))
    adapted.save_pretrained(folder)
    return folder
