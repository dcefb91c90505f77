"""A service from its first moment to its last: load the model, listen, finish what is running."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Literal

import uvicorn

from ..annotation.annotator import Annotator
from ..annotation.settings import Settings
from ..backends import model_kind
from ..errors import UserError
from ..files import reason
from ..processors import usable_processors
from ..runs.progress import ProgressDisplay
from .app import service
from .connection import BoundedHeads
from .engine import Engine, ThisProcess
from .limits import Limits
from .watch import Log
from .worker_engine import WorkerEngine

_KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection: one that the service closes may have just been used again."""


def serve_until_stopped(
    load: Callable[[], Annotator],
    settings: Settings,
    workers: int | Literal["auto"],
    address: tuple[str, int],
    limits: Limits,
    *,
    key: str | None,
    hosts: tuple[str, ...] | None,
    origins: Sequence[str],
    log_texts: bool,
    progress: ProgressDisplay,
) -> None:
    """Serve until SIGINT or SIGTERM; what is running then is finished, within limits. Raises UserError."""
    listening = listen(*address)  # before the model is loaded: a port that is taken should not take a minute
    with progress.during(f"loading {settings.model or 'the bundled model'}"):
        engine = open_engine(load, settings, workers, progress)
    app = service(engine, limits, log=Log(texts=log_texts), key=key, hosts=hosts, origins=origins)
    host, port = listening.getsockname()[:2]
    progress.note(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    server(app, limits).run(sockets=[listening])


def open_engine(
    load: Callable[[], Annotator],
    settings: Settings,
    workers: int | Literal["auto"],
    progress: ProgressDisplay,
) -> Engine:
    """The annotator of this process, or worker processes. Raises UserError."""
    on_server = settings.model is not None and model_kind(settings.model) == "server"
    if on_server and workers not in (1, "auto"):
        raise UserError(f"--workers {workers}: {settings.model} is on a server; use --batch instead")
    n = workers if workers != "auto" else 1 if on_server else usable_processors()
    return ThisProcess(load()) if n == 1 else WorkerEngine(n, settings, progress.note)


def server(app: object, limits: Limits) -> uvicorn.Server:
    """A server that writes no log of its own: the service does."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(limits.shutdown_s),
        http=BoundedHeads,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError.

    Its connections inherit TCP_NODELAY: else the end of an answer waits 40 ms for the client to confirm the
    start of it. (asyncio would set it, but not on a socket whose protocol is left open, as it is here.)
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        listening = socket.create_server(where[:2], family=family, backlog=2048)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError, OverflowError) as error:
        why, _, _ = reason(error).partition(" (while attempting")
        raise UserError(f"cannot listen on {host} port {port}: {why}") from None
