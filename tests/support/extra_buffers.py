"""llama_cpp.Llama on processors with AMX, where many builds crash with llama.cpp's extra buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_extra_buffers() -> Iterator[None]:
    """Models that llama_cpp.Llama opens in this block have no extra buffers; it has no option for that."""
    from llama_cpp import llama_cpp

    defaults = llama_cpp.llama_model_default_params

    def changed() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    llama_cpp.llama_model_default_params = changed
    try:
        yield
    finally:
        llama_cpp.llama_model_default_params = defaults
