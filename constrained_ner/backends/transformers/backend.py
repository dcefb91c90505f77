"""transformers: a model folder or a hub id as a LogitsBackend, on a graphics card or on the processor.

All slots go through the model in one batch (`cells.py` keeps their keys and values). Only the hidden states
of watched positions reach the output layer, and only the watched logits leave the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from ...errors import ModelError
from ...vocabulary import Vocabulary
from ..protocol import NOT_NUMBERS, Scores, Step, check_prefix, check_steps, common_length
from ..temperature import stored_temperature
from .model import LoadedModel, Quantize, configured_stops, load_model

import torch  # isort: skip  (after transformers_model, which says how to install it)
import transformers  # isort: skip

from .cache import Cells, cell_cache, make_plan, set_plan  # isort: skip
from .vocabulary import template_of, vocabulary_of_tokenizer  # isort: skip

__all__ = ["TransformersBackend", "vocabulary_of_tokenizer"]

_N_PIECE = 512  # tokens of one sequence that go through the model at once
_N_BATCH = 4096  # tokens of all sequences, padding included
_N_LOGITS = 1 << 26  # numbers that the output layer may write at once: 256 MiB in float32
_UNKNOWN_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens of one sequence (0 is the prefix), no more than _N_PIECE, and where their scores go."""

    sequence: int
    token_ids: Sequence[int]
    watch: Sequence[Sequence[int] | None]
    step: int
    offset: int


class TransformersBackend:
    """A causal language model of transformers, with weights in safetensors.

    name_or_path: a folder, or an id on the hub. adapter: a LoRA adapter's folder or id.
    quantize: "4bit" (nf4) or "8bit", through bitsandbytes. device: "auto", "cpu", "cuda".
    merge: add the adapter to the weights; None does it unless they are quantised.
    dtype: "auto" is the checkpoint's own precision on a graphics card and float32 on the processor.
    context_length: None takes the length that the model was trained for.
    Raises ModelError or MissingExtraError in one sentence where the model cannot be loaded or used so.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        adapter: str | None = None,
        quantize: Quantize | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_sequences: int = 8,
        context_length: int | None = None,
        trust_remote_code: bool = False,
        merge: bool | None = None,
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
        self._use(loaded, max_sequences, context_length)

    @classmethod
    def around(
        cls, loaded: LoadedModel, *, max_sequences: int = 8, context_length: int | None = None
    ) -> TransformersBackend:
        """A back end for a model that is in memory already, for instance one in training."""
        backend = cls.__new__(cls)
        backend._use(loaded, max_sequences, context_length)
        return backend

    def _use(self, loaded: LoadedModel, max_sequences: int, context_length: int | None) -> None:
        self.loaded = loaded
        self.max_sequences = max_sequences
        self._model = loaded.model
        config = self._model.config.get_text_config(decoder=True)
        head = self._model.get_output_embeddings()
        if head is None:
            raise ModelError(f"{loaded.name}: the model has no output layer")
        try:
            self._cache = cell_cache(config)
        except ValueError as error:
            raise ModelError(f"{loaded.name}: cannot be used: {error}") from None
        self.context_length = context_length or trained_length(config)
        self.vocabulary = vocabulary_of_model(loaded.name, loaded.tokenizer, self._model.config)
        self._cells = Cells(max_sequences)
        self._prefix: list[int] = []
        self._lengths = [0] * max_sequences
        self._wanted = torch.zeros(1, dtype=torch.int64)
        self._hook = head.register_forward_pre_hook(self._keep_watched)

    @property
    def chat_template(self) -> str | None:
        return template_of(self.loaded.tokenizer)

    @cached_property
    def temperature(self) -> float:
        return stored_temperature(self.loaded.adapter, self.loaded.name)

    @cached_property
    def description(self) -> dict[str, str]:
        device = self.loaded.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        about = {
            "backend": "transformers",
            "name": self.loaded.name,
            **self.loaded.identity(),
            "precision": self.loaded.precision,
            "device": name,
            "version": f"transformers {transformers.__version__}, torch {torch.__version__}",
        }
        return about if self.loaded.adapter is None else {**about, "adapter": self.loaded.adapter}

    def prefill(self, prefix_ids: Sequence[int]) -> None:
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
            self._run([_Piece(0, part, [None] * len(part), 0, 0)])
            self._prefix += part  # by now computed

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
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
        """Give back weights and cache. The vocabulary goes on working."""
        self._hook.remove()
        del self._model, self._cache

    def _groups(self, steps: Sequence[Step]) -> Iterator[list[_Piece]]:
        """The steps as batches that fit: first the first piece of every step, then the second ones, ...

        On the processor padding costs as much as tokens do, so rows of very different lengths go apart.
        """
        longest = max((len(step.token_ids) for step in steps), default=0)
        n_outputs = max(1, _N_LOGITS // len(self.vocabulary))
        for start in range(0, longest, _N_PIECE):
            end = start + _N_PIECE
            pieces = [
                _Piece(step.sequence + 1, step.token_ids[start:end], step.watch[start:end], number, start)
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
        """One pass of the model over one batch; the scores of its watched positions."""
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
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        for piece, length in zip(pieces, lengths, strict=True):
            if piece.sequence:
                self._lengths[piece.sequence - 1] += length
        if not watched:
            return []
        watches = [piece.watch[at] or () for piece, at in watched]
        if logits.shape[:2] != (1, len(watched)):  # a model that does not call its output layer as a module
            logits = logits.flatten(0, 1).index_select(0, self._wanted).unsqueeze(0)
        scores = score_on_device(logits[0], watches)
        return [(piece, at, found) for (piece, at), found in zip(watched, scores, strict=True)]

    def _keep_watched(self, _head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Before the output layer: (rows, queries, hidden) -> (1, watched, hidden).

        What the model does with its logits afterwards (soft caps, scales) is element by element, and stays
        its own business.
        """
        hidden = inputs[0].flatten(0, 1).index_select(0, self._wanted.to(inputs[0].device))
        return (hidden.unsqueeze(0), *inputs[1:])


def score_on_device(logits: torch.Tensor, watches: Sequence[Sequence[int]]) -> list[Scores]:
    """As `base.score_rows`, where the logits are; shape (positions, vocabulary)."""
    lengths = [len(watch) for watch in watches]
    rows = torch.from_numpy(np.repeat(np.arange(len(watches)), lengths)).to(logits.device)
    columns = torch.tensor(list(chain.from_iterable(watches)), dtype=torch.int64).to(logits.device)
    numbers = logits.float()
    sums = torch.logsumexp(numbers, dim=-1).cpu()
    if not bool(torch.isfinite(sums).all()):
        raise ModelError(NOT_NUMBERS)
    best = numbers.argmax(dim=-1).tolist()
    picked = numbers[rows, columns].cpu().numpy()
    ends = np.cumsum(lengths).tolist()
    return [
        Scores(picked[end - length : end], logsumexp, top)
        for end, length, logsumexp, top in zip(ends, lengths, sums.tolist(), best, strict=True)
    ]


def trained_length(config: Any) -> int:
    """The longest context that a model was trained for, as its configuration has it."""
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if length else _UNKNOWN_CONTEXT


def vocabulary_of_model(name: str, tokenizer: Any, config: Any) -> Vocabulary:
    """The vocabulary as decoding and training see it: the tokenizer's, with the model's end tokens."""
    return vocabulary_of_tokenizer(
        tokenizer,
        n_tokens=config.get_text_config(decoder=True).vocab_size,
        stop_ids=configured_stops(name, config),
    )
