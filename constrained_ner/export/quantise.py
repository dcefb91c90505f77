"""Types of less than eight bits, by llama.cpp's own quantiser, which chooses a type for each tensor."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Literal

from ..backends.llamacpp.library import first_error, start_llama
from ..errors import ModelError

import llama_cpp  # isort: skip  (after llamacpp.model, which says how to install it)

SmallType = Literal["q4_k_m"]
_FILE_TYPES: dict[SmallType, int] = {"q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M}


def quantise(source: Path, target: Path, small: SmallType, *, threads: int | None = None) -> None:
    """Write `source` to `target` in a smaller type; rows that cannot be divided get a larger one.

    threads: None uses all. Raises ModelError.
    """
    start_llama()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = _FILE_TYPES[small]
    parameters.nthread = threads or 0
    code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    if code != 0:
        raise ModelError(f"{source}: llama.cpp could not quantise the file: {first_error(f'code {code}')}")
