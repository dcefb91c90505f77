"""llama.cpp: a GGUF file as a LogitsBackend, through the C API of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from ...errors import ModelError
from ...processors import free_threads
from ..cache_size import EXACT_CACHE_BYTES
from ..gguf_file import ADAPTER_KEY, BASE_KEY
from ..protocol import Scores, Step
from ..scoring import check_prefix, check_steps
from .adapter import LlamaLora
from .batch import Row
from .cache import LlamaCache
from .library import llama_cpp
from .model import LlamaModel
from .vocabulary import vocabulary_of_llama

DRAFT_HORIZON = 12
"""Tokens of a draft on the processor, where a pass costs as much as three or four tokens.

One thread of a Xeon (Sapphire Rapids): 0.9 ms, and 0.32 ms a token, for the bundled model; 20 and 5.2 for one
of 171 million parameters in Q8_0. With the bundled model, 436 sentences of DDI train take 4.8 passes and 85
tokens each instead of 2.7 and 116; horizons from 8 to 16 are within 3 % of each other.
All of devel takes 71 tokens a sentence instead of 98, and 19 % more sentences a second of processor time.
"""


ONE_THREAD_BYTES = 32 << 20
"""Models up to this size compute with one thread by default.

A bundled model of 8 MB did 36 sentences a second on one thread and 49 on two, but 1.4 on two where something
else takes one of them. Processes of their own are the better use of a second processor (`runs/workers.py`).
"""


class LlamaCppBackend:
    """A GGUF model on the processor, or with `gpu_layers` of it (-1: all) on a GPU.

    threads: None takes one for a small model, and what is free at the start for others.
    context: context length in tokens; None takes the length that the model was trained for.
    batch: sequences at once. One by default: a draft keeps the processor busy by itself, and the result for a
        sentence then depends on no other sentence, not even by a rounding error, so a resumed run writes the
        same bytes as an uninterrupted one. Raise it for a GPU.
    lora: a GGUF LoRA, added to the model as it computes.
    cache: precision of keys and values. "auto" is float32 for small models, so that a draft gets the same
        scores as its tokens one by one, and float16 for others.
    extra_buffers: let llama.cpp rearrange the weights for this processor; None does so unless llama.cpp uses
        AMX, because many builds crash there.

    Raises ModelError, naming the path, if the file is not a model that can be used this way.
    """

    shows_logits: Literal[True] = True
    thread_safe = False

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        context: int | None = None,
        batch: int = 1,
        gpu_layers: int = 0,
        lora: str | Path | None = None,
        cache: Literal["auto", "f32", "f16"] = "auto",
        extra_buffers: bool | None = None,
    ) -> None:
        if gpu_layers and not llama_cpp.llama_supports_gpu_offload():
            raise ModelError(
                f"{path}: {gpu_layers} layers on a GPU, but this llama.cpp was built without one"
            )
        if not 1 <= batch < llama_cpp.llama_max_parallel_sequences():
            raise ModelError(f"{path}: {batch} sequences at once, which is more than llama.cpp can hold")
        self.model = LlamaModel(path, gpu_layers=gpu_layers, extra_buffers=extra_buffers)
        _check_architecture(self.model)
        if lora is not None and self.model.metadata(ADAPTER_KEY) is not None:
            raise ModelError(f"{lora}: {path} contains an adapter already; use the LoRA with its base model")
        self._lora = LlamaLora(lora, self.model) if lora is not None else None
        self._read_metadata()
        self.vocabulary = vocabulary_of_llama(self.model)
        self.context_length = context or self.model.trained_context_length
        self.max_sequences = batch
        self.gpu_layers = gpu_layers
        self.draft_horizon: int | None = None if gpu_layers else DRAFT_HORIZON  # a GPU has tokens for nothing
        self._n_threads = threads or _default_threads(self.model)
        self._exact = cache == "f32" or (cache == "auto" and self.model.size_in_bytes <= EXACT_CACHE_BYTES)
        self._cache = LlamaCache(
            self.model, self._lora, n_slots=batch, n_threads=self._n_threads, exact=self._exact
        )

    def _read_metadata(self) -> None:
        """What the protocol says about the model. The LoRA's temperature was fitted to the two together."""
        own = self._lora.temperature if self._lora else None
        self.temperature = self.model.temperature if own is None else own
        self.chat_template = self.model.chat_template
        self.adapter_card = (self._lora or self.model).metadata(ADAPTER_KEY)
        self.base_model = self.model.metadata(BASE_KEY) if self._lora else None
        self._precision = self.model.summary

    @cached_property
    def identity(self) -> dict[str, str]:
        about = {
            "backend": "llama.cpp",
            "sha256": self.model.sha256,
            "precision": self._precision,
            "cache": "float32" if self._exact else "float16",
            "device": "gpu" if self.gpu_layers else "cpu",
        }
        return about if self._lora is None else {**about, "lora_sha256": self._lora.sha256}

    @property
    def description(self) -> dict[str, str]:
        about = {
            "backend": "llama.cpp",
            "name": self.model.path.name,
            "path": str(self.model.path),
            **self.identity,
            "device": f"cpu, {self._n_threads} threads"
            + (f", {self.gpu_layers} layers on a gpu" if self.gpu_layers else ""),
            "extra_buffers": _extra_buffers_note(self.model),
            "version": f"llama-cpp-python {llama_cpp.__version__}",
        }
        return about if self._lora is None else {**about, "lora": self._lora.path.name}

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        self.model.require_open()
        check_prefix(prefix_ids, self.context_length)
        self._cache.set_prefix(prefix_ids)

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        self.model.require_open()
        cache = self._cache
        n_prefix = len(cache.prefix)
        check_steps(steps, [len(slot) for slot in cache.slots], n_prefix, self.context_length)
        for step in steps:
            cache.truncate(step.sequence, step.keep)
        answers: list[list[Scores | None]] = [[None] * len(step.token_ids) for step in steps]
        rows = [
            Row(token_id, n_prefix + step.keep + at, step.sequence + 1, watch, step.summary, (number, at))
            for number, step in enumerate(steps)
            for at, (token_id, watch) in enumerate(zip(step.token_ids, step.watch, strict=True))
        ]
        for (number, at), scores in cache.append(rows):
            answers[number][at] = scores
        return answers

    def close(self) -> None:
        """Free the cache and the weights at once. The vocabulary still decodes, but no longer tokenises."""
        self._cache.close()
        self.model.close()


def _check_architecture(model: LlamaModel) -> None:
    """Raise ModelError for a model that cannot continue from any of its prefixes."""
    pointer = model.pointer
    if llama_cpp.llama_model_has_encoder(pointer) or not llama_cpp.llama_model_has_decoder(pointer):
        raise ModelError(f"{model.path}: an encoder ({model.summary}) cannot generate text; use a decoder")
    if llama_cpp.llama_model_is_recurrent(pointer) or llama_cpp.llama_model_is_hybrid(pointer):
        raise ModelError(
            f"{model.path}: a recurrent model ({model.summary}) cannot take back rejected tokens; "
            "choose one with attention in every layer"
        )
    if llama_cpp.llama_model_is_diffusion(pointer):
        raise ModelError(f"{model.path}: a diffusion model ({model.summary}) does not write left to right")


def _extra_buffers_note(model: LlamaModel) -> str:
    """Example: "off (AMX)": switched off because llama.cpp would compute with AMX."""
    state = "on" if model.extra_buffers else "off"
    if model.chose_extra_buffers:
        return f"{state} (as asked)"
    return state if model.extra_buffers else f"{state} (AMX)"


def _default_threads(model: LlamaModel) -> int:
    """One for a small model; else the free ones: beyond four, half, as the others are mostly hyperthreads."""
    if model.size_in_bytes <= ONE_THREAD_BYTES:
        return 1
    free = free_threads()
    return max(min(free, 4), free // 2)
