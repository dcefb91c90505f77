"""llama.cpp's own grammars, through the sampler of its C API (llama-cpp-python 0.3.36)."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends.llamacpp.library import first_error, start_llama
from ...backends.llamacpp.model import LlamaModel
from ...constraint.grammars import Dialect
from ...errors import SentenceError
from .protocol import Spellings

import llama_cpp  # isort: skip  (after llamacpp.model, whose error says how to install it)

_CANDIDATE = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
"""llama_token_data. A sampler that forbids a token sets its logit to minus infinity."""


class GbnfEngine:
    """Every token is tried against stacks of rules, one by one: nothing is compiled or cached.

    It is given only the tokens that an answer may contain: by itself it would let a text that spells a
    control token (`<|im_start|>`) be written with that token.
    """

    dialect: Dialect = "gbnf"

    def __init__(self, spellings: Spellings, model: LlamaModel) -> None:
        self._model = model
        ids = [i for i, piece in enumerate(spellings.token_bytes) if piece or i in spellings.stop_ids]
        self._fresh = np.zeros(len(ids), dtype=_CANDIDATE)
        self._fresh["id"] = ids

    def start(self, grammar: str) -> GbnfMatcher:
        start_llama()
        sampler = llama_cpp.llama_sampler_init_grammar(self._model.vocab, grammar.encode(), b"root")
        if not sampler:
            reason = first_error("it gives no reason")
            raise SentenceError(f"llama.cpp cannot read the sentence's grammar: {reason}")
        return GbnfMatcher(sampler, self._fresh, self._model)


class GbnfMatcher:
    def __init__(self, sampler: Any, fresh: np.ndarray[Any, Any], model: LlamaModel) -> None:
        self._sampler = sampler
        self._fresh = fresh
        self._candidates = fresh.copy()
        self._freeing = weakref.finalize(self, _free, sampler, model)
        self._freeing.atexit = False

    def legal_ids(self) -> Sequence[int]:
        candidates = self._candidates
        candidates[:] = self._fresh
        data = candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(data, len(candidates), -1, False)
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        ids: list[int] = candidates["id"][candidates["logit"] == 0].tolist()
        return ids

    def accept(self, token_id: int) -> None:
        # For a token that is not legal, llama.cpp would abort the process.
        llama_cpp.llama_sampler_accept(self._sampler, token_id)


def _free(sampler: Any, _model: LlamaModel) -> None:
    """The model is an argument so that its vocabulary outlives the sampler."""
    llama_cpp.llama_sampler_free(sampler)
