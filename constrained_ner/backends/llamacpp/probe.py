"""Decode four tokens of a model: the child process that may crash so that the user's process does not.

    python probe.py PACKAGE MODEL on|off

PACKAGE is the folder of llama_cpp, MODEL a GGUF file; the last argument switches llama.cpp's extra buffers.
`build.py` starts this file as a script and reads the exit status: 0 if the tokens were decoded, 3 if they
could not be but llama.cpp said so properly, and a signal if it crashed.

Only `llama_cpp/llama_cpp.py` is imported, not the whole package, which would take three times as long.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import types
from typing import Any

INCONCLUSIVE = 3
_N_TOKENS = 4


def main(package: str, model_path: str, extra_buffers: str) -> int:
    hollow: Any = types.ModuleType("llama_cpp")
    hollow.__path__ = [package]
    sys.modules["llama_cpp"] = hollow
    llama: Any = importlib.import_module("llama_cpp.llama_cpp")
    parameters = llama.llama_model_default_params()
    parameters.use_extra_bufts = extra_buffers == "on"
    parameters.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(os.fsencode(model_path), parameters)
    if not model:
        return INCONCLUSIVE
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = 64
    parameters.n_threads = parameters.n_threads_batch = 1
    context = llama.llama_init_from_model(model, parameters)
    if not context:
        return INCONCLUSIVE
    tokens = (ctypes.c_int32 * _N_TOKENS)(*range(_N_TOKENS))
    code = llama.llama_decode(context, llama.llama_batch_get_one(tokens, _N_TOKENS))
    return INCONCLUSIVE if code else 0


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are no top-level modules
    os._exit(main(*sys.argv[1:]))  # nothing to tidy up, and it saves time
