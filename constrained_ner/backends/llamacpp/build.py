"""Whether the installed build of llama.cpp can compute on this processor.

Some builds crash: compiled by GCC 12 with AMX, llama.cpp dies of a segmentation fault at the first product
with a quantised matrix (llama.cpp issue 20824). A child process (`probe.py`) tries it once with the bundled
model. The answer is kept in the user's cache folder, so later loads start no child until the build, the
processor or the setting changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

from ...errors import ModelError
from ...files import cache_folder
from . import probe
from .library import computes_with_amx, llama_cpp

_BUNDLED = Path(__file__).parents[2] / "bundled"
_TIMEOUT_S = 30.0
_REBUILD = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
_WITHOUT_AMX = "-mno-amx-int8 -mno-amx-tile -mno-amx-bf16"
_CRASHES = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS")
"""Signals that say something about the build. SIGKILL, for instance, does not: memory may have run out."""

_crashes: dict[str, str] = {}
"""What this process has found out, by build: the name of the signal, or "" for a build that works."""


def require_working_build(*, extra_buffers: bool) -> None:
    """Raise ModelError if this build crashes on this processor, saying how to get one that works.

    A probe that fails for another reason, or that cannot be made (no bundled model), raises nothing.
    """
    about = _identity(extra_buffers)
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    crash = _crashes.get(key)
    if crash is None:
        crash = _read(key)
    if crash is None:
        crash = _probe(extra_buffers)
        if crash is not None:
            _write(key, about, crash)
    if crash is not None:
        _crashes[key] = crash
    if crash:
        raise ModelError(_advice(crash, extra_buffers))


def _advice(crash: str, extra_buffers: bool) -> str:
    flags = f'CFLAGS="{_WITHOUT_AMX}" CXXFLAGS="{_WITHOUT_AMX}" ' if computes_with_amx() else ""
    way_out = "pass --no-extra-buffers, or rebuild it" if extra_buffers else "rebuild it"
    return f"llama.cpp crashes on this processor ({crash}): {way_out}: {flags}{_REBUILD}"


def _probe(extra_buffers: bool) -> str | None:
    """The signal that the child died of, "" if it decoded the tokens, None if the build is not to blame."""
    models = sorted(_BUNDLED.glob("*.gguf"))
    if not models or not sys.executable:
        return None
    command = [sys.executable, probe.__file__, *llama_cpp.__path__[:1], str(models[0])]
    try:
        status = subprocess.run(
            [*command, "on" if extra_buffers else "off"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
    if status == 0:
        return ""
    if status >= 0xC0000000:  # Windows: the number of an exception
        return f"exception {status:#x}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
        return name if name in _CRASHES else None
    return None


# The cache


def _identity(extra_buffers: bool) -> dict[str, object]:
    """What the answer depends on."""
    folder = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(llama_cpp.__path__[0]) / "lib")
    libraries = {str(path): path.stat() for path in sorted(folder.glob("*")) if path.is_file()}
    return {
        "libraries": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in libraries.items()},
        "processor": _processor(),
        "extra_buffers": extra_buffers,
    }


@cache
def _processor() -> str:
    """Name and features of the first core, as Linux lists them; elsewhere what Python knows."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        wanted = ("model name", "flags", "CPU part", "Features")
        core = []
        for line in lines:
            if not line.strip():
                break
            core += [line.strip()] if line.startswith(wanted) else []
        if core:
            return "; ".join(core)
    return f"{platform.machine()} {platform.processor()}"


def _read(key: str) -> str | None:
    try:
        crash = json.loads((cache_folder() / f"llama-cpp-{key}.json").read_text(encoding="utf-8"))["crash"]
    except (OSError, RuntimeError, ValueError, LookupError, TypeError):
        return None
    return crash if isinstance(crash, str) else None


def _write(key: str, about: dict[str, object], crash: str) -> None:
    """A folder that cannot be written to costs only another probe in the next process."""
    with contextlib.suppress(OSError, RuntimeError):
        path = cache_folder() / f"llama-cpp-{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps({"crash": crash, **about}, indent=1), encoding="utf-8")
        os.replace(part, path)
