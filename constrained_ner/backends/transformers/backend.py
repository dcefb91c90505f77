"""transformers: a model folder or a hub id as a LogitsBackend, on a GPU or on the processor.

All slots go through the model in one batch (`cache.py` keeps their keys and values). Only the hidden states
of watched positions reach the output layer, and only the watched logits leave the device.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ...errors import ModelError
from ...vocabulary import Vocabulary
from ..protocol import Scores, Step
from ..scoring import check_prefix, check_steps, common_length
from ..temperature import stored_temperature
from .gguf_base import GgufTokenizer
from .model import LoadedModel, Quantize, configured_stops, load_model

import torch  # isort: skip  (after model.py, which says how to install it)
import transformers  # isort: skip

from .scoring import score_on_device  # isort: skip
from .cache import Cells, cell_cache, make_plan, set_plan  # isort: skip
from .vocabulary import template_of, vocabulary_of_tokenizer  # isort: skip

_N_PIECE = 512  # tokens of one sequence that go through the model at once
_N_BATCH = 4096  # tokens of all sequences, padding included
_N_LOGITS = 1 << 26  # numbers that the output layer may write at once: 256 MiB in float32
_UNKNOWN_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class _Piece:
    """At most _N_PIECE tokens of one sequence (0 is the prefix), and where their scores belong.

    summary: as in `Step`.
    """

    sequence: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]
    summary: bool = False
    step: int = 0
    offset: int = 0


class TransformersBackend:
    """A causal language model of transformers.

    name_or_path: a folder, an id on the hub, or a GGUF file, which is dequantised.
    adapter: folder or id of a LoRA adapter.
    quantize: "4bit" (nf4) or "8bit", through bitsandbytes. device: "auto", "cpu" or "cuda".
    merge: add the adapter to the weights; None does so unless they are quantised.
    dtype: "auto" is the checkpoint's own precision on a GPU and float32 on the processor.
    batch: sequences at once. context: context length in tokens; None takes the length that the model was
        trained for. threads: of the processor, for all models that torch runs in this process; None for
        torch's own number, or what is free if that is less.

    Raises ModelError or MissingExtraError, in one sentence, if the model cannot be loaded or used this way.
    """

    shows_logits: Literal[True] = True
    thread_safe = False
    # Even on the processor a pass costs as much as 50 to 80 tokens (130 ms and 2.3 ms for 171 million
    # parameters, 8 and 0.1 for 6 million, one thread of a Xeon): shorter drafts cost more than they save.
    draft_horizon: int | None = None
    adapter_card: str | None = None  # an adapter's folder has a card, but the model's files have none
    base_model: str | None = None

    def __init__(
        self,
        name_or_path: str,
        *,
        adapter: str | None = None,
        quantize: Quantize | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 8,
        context: int | None = None,
        trust_remote_code: bool = False,
        merge: bool | None = None,
        threads: int | None = None,
    ) -> None:
        loaded = load_model(
            name_or_path,
            adapter=adapter,
            quantize=quantize,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            merge=merge,
        )
        if threads is not None:  # more than `load_model` would use, too
            torch.set_num_threads(threads)
        self._use(loaded, batch, context)

    @classmethod
    def around(
        cls, loaded: LoadedModel, *, batch: int = 8, context: int | None = None
    ) -> TransformersBackend:
        """A back end for a model that is already in memory, for instance one in training."""
        backend = cls.__new__(cls)
        backend._use(loaded, batch, context)
        return backend

    def _use(self, loaded: LoadedModel, batch: int, context: int | None) -> None:
        self.loaded = loaded
        self.max_sequences = batch
        self._model: Any = loaded.model
        config = self._model.config.get_text_config(decoder=True)
        head = self._model.get_output_embeddings()
        if head is None:
            raise ModelError(f"{loaded.name}: the model has no output layer")
        try:
            self._cache: Any = cell_cache(config)
        except ValueError as error:
            raise ModelError(f"{loaded.name}: cannot be used: {error}") from None
        self.context_length = context or trained_length(config)
        self.vocabulary = vocabulary_of_model(loaded.name, loaded.tokenizer, self._model.config)
        self._cache_argument = _cache_argument(self._model)
        self._cells = Cells(batch)
        self._prefix: list[int] = []
        self._lengths = [0] * batch
        self._wanted = torch.zeros(1, dtype=torch.int64)
        self._hook = head.register_forward_pre_hook(self._keep_watched)

    @property
    def chat_template(self) -> str | None:
        return template_of(self.loaded.tokenizer)

    @cached_property
    def temperature(self) -> float | None:
        return stored_temperature(self.loaded.adapter, self.loaded.name)

    @cached_property
    def identity(self) -> dict[str, str]:
        return {
            "backend": "transformers",
            **self.loaded.identity(),
            "precision": self.loaded.precision,
            "device": self.loaded.device.type,
        }

    @cached_property
    def description(self) -> dict[str, str]:
        device = self.loaded.device
        about = {
            "backend": "transformers",
            "name": self.loaded.name,
            **self.identity,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "version": f"transformers {transformers.__version__}, torch {torch.__version__}",
        }
        return about if self.loaded.adapter is None else {**about, "adapter": self.loaded.adapter}

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        self._require_open()
        check_prefix(prefix_ids, self.context_length)
        prefix = list(prefix_ids)
        n_shared = common_length(self._prefix, prefix)
        self._cells.truncate(0, n_shared)
        self._prefix = prefix[:n_shared]
        for slot in range(self.max_sequences):
            self._cells.truncate(slot + 1, 0)
        self._lengths = [0] * self.max_sequences
        for start in range(n_shared, len(prefix), _N_PIECE):
            part = prefix[start : start + _N_PIECE]
            self._run([_Piece(0, part, [None] * len(part))])
            self._prefix += part  # it has been computed

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        self._require_open()
        check_steps(steps, self._lengths, len(self._prefix), self.context_length)
        for step in steps:
            self._cells.truncate(step.sequence + 1, step.keep)
            self._lengths[step.sequence] = step.keep
        answers: list[list[Scores | None]] = [[None] * len(step.token_ids) for step in steps]
        for group in self._groups(steps):
            for piece, at, scores in self._run(group):
                answers[piece.step][piece.offset + at] = scores
        return answers

    def close(self) -> None:
        """Free weights and cache, unless others hold the model too. The vocabulary still works."""
        self._hook.remove()
        self.loaded = replace(self.loaded, model=None)
        self._model = self._cache = None

    def _require_open(self) -> None:
        if self._model is None:
            raise ModelError(f"{self.loaded.name}: the model is closed")

    def _groups(self, steps: Sequence[Step]) -> Iterator[list[_Piece]]:
        """The steps in batches that fit: first the first piece of every step, then the second pieces, ...

        On the processor, padding costs as much as tokens do, so rows of very different lengths are separated.
        """
        longest = max((len(step.token_ids) for step in steps), default=0)
        n_outputs = max(1, _N_LOGITS // len(self.vocabulary))
        for start in range(0, longest, _N_PIECE):
            end = start + _N_PIECE
            pieces = [
                _Piece(
                    sequence=step.sequence + 1,
                    token_ids=step.token_ids[start:end],
                    watch=step.watch[start:end],
                    summary=step.summary,
                    step=number,
                    offset=start,
                )
                for number, step in enumerate(steps)
                if len(step.token_ids) > start
            ]
            pieces.sort(key=lambda piece: -len(piece.token_ids))
            group: list[_Piece] = []
            watched = 0
            for piece in pieces:
                n_watched = sum(watch is not None for watch in piece.watch)
                width = len(group[0].token_ids) if group else 0
                if group and (
                    (len(group) + 1) * width > _N_BATCH
                    or watched + n_watched > n_outputs
                    or (self.loaded.device.type == "cpu" and 2 * len(piece.token_ids) < width)
                ):
                    yield group
                    group, watched = [], 0
                group.append(piece)
                watched += n_watched
            yield group

    @torch.inference_mode()
    def _run(self, pieces: Sequence[_Piece]) -> list[tuple[_Piece, int, Scores]]:
        """Run one pass of the model over one batch; returns the scores of its watched positions."""
        device = self.loaded.device
        lengths = [len(piece.token_ids) for piece in pieces]
        starts = [len(self._prefix) + (self._lengths[p.sequence - 1] if p.sequence else 0) for p in pieces]
        plan, mask = make_plan(self._cells, [piece.sequence for piece in pieces], lengths, device)
        token_ids = np.zeros((plan.n_rows, plan.n_queries), dtype=np.int64)
        positions = np.zeros_like(token_ids)
        watched: list[tuple[_Piece, int]] = []
        wanted: list[int] = []
        for row, (piece, length, start) in enumerate(zip(pieces, lengths, starts, strict=True)):
            token_ids[row, -length:] = piece.token_ids
            positions[row, -length:] = np.arange(start, start + length)
            first = (row + 1) * plan.n_queries - length
            places = [at for at, watch in enumerate(piece.watch) if watch is not None]
            watched += [(piece, at) for at in places]
            wanted += [first + at for at in places]
        set_plan(self._cache, plan)
        self._wanted = torch.tensor(wanted or [0], device=device)
        logits = self._model(
            input_ids=torch.from_numpy(token_ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
            position_ids=torch.from_numpy(positions).to(device),
            use_cache=True,
            **{self._cache_argument: self._cache},
        ).logits
        for piece, length in zip(pieces, lengths, strict=True):
            if piece.sequence:
                self._lengths[piece.sequence - 1] += length
        if not watched:
            return []
        watches = [piece.watch[at] or () for piece, at in watched]
        if logits.shape[:2] != (1, len(watched)):  # a model that does not call its output layer as a module
            logits = logits.flatten(0, 1).index_select(0, self._wanted).unsqueeze(0)
        scores = score_on_device(logits[0], watches, [piece.summary for piece, _ in watched])
        return [(piece, at, found) for (piece, at), found in zip(watched, scores, strict=True)]

    def _keep_watched(self, _head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Before the output layer: (rows, queries, hidden) -> (1, watched, hidden).

        Whatever the model does with its logits afterwards (soft caps, scales) works element by element, so
        it still applies.
        """
        hidden = inputs[0].flatten(0, 1).index_select(0, self._wanted.to(inputs[0].device))
        return (hidden.unsqueeze(0), *inputs[1:])


def _cache_argument(model: Any) -> str:
    """What the forward method calls its cache: transformers 5.24 renamed `past_key_values` to `cache`."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def trained_length(config: Any) -> int:
    """The longest context that the model was trained for, according to its configuration."""
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if length else _UNKNOWN_CONTEXT


def vocabulary_of_model(name: str, tokenizer: Any, config: Any) -> Vocabulary:
    """The tokenizer's vocabulary with the model's end tokens, as used in decoding and training."""
    if isinstance(tokenizer, GgufTokenizer):
        return tokenizer.vocabulary
    return vocabulary_of_tokenizer(
        tokenizer,
        n_tokens=config.get_text_config(decoder=True).vocab_size,
        stop_ids=configured_stops(name, config),
    )
