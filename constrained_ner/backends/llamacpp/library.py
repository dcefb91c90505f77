"""llama-cpp-python: importing it, collecting its errors, asking what it was built with.

Written for the C API of llama-cpp-python 0.3.36. The other modules of this package import `llama_cpp` from
here, so a missing installation is reported in one place.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections import deque
from collections.abc import Iterator

from ...errors import MissingExtraError

_SPINS = "GOMP_SPINCOUNT"


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Let threads of GCC's OpenMP, if it is loaded within, sleep while they wait for each other.

    By default they spin some 300,000 rounds. Beside other work that takes the processor from the thread that
    they wait for: two threads did 1.4 sentences a second, 8.5 when they slept at once, and one thread 11.5.
    Whoever has set a policy keeps it. The library reads its environment once, so it is restored at once.
    """
    if _SPINS in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ[_SPINS] = "0"
    try:
        yield
    finally:
        del os.environ[_SPINS]


try:
    with _patient_threads():
        import llama_cpp
except ImportError:
    raise MissingExtraError("llama-cpp-python", "llamacpp") from None

__all__ = ["computes_with_amx", "first_error", "llama_cpp", "start_llama"]

_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR; the comment in llama_cpp._logger is older than the library
_FUNCTION_NAMES = re.compile(r"^(\w+: |error loading model: )+")
_logged_errors: deque[str] = deque(maxlen=50)


def _collect_errors(level: int, text: bytes, _user_data: object) -> None:
    if level == _ERROR_LEVEL:
        _logged_errors.append(text.decode(errors="replace").strip())


_LOG_CALLBACK = llama_cpp.llama_log_callback(_collect_errors)  # ctypes needs the reference kept


def start_llama() -> None:
    """Silence llama.cpp and start collecting its errors afresh. May be called again."""
    llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
    _logged_errors.clear()


def first_error(default: str) -> str:
    """llama.cpp's first error since `start_llama`, without function names; `default` if there was none."""
    if not _logged_errors:
        return default
    return _FUNCTION_NAMES.sub("", _logged_errors[0])


def computes_with_amx() -> bool:
    """Whether this build of llama.cpp multiplies quantised matrices with AMX instructions."""
    return b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info()
