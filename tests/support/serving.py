"""A service on the loopback interface, in a thread of the test."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from constrained_ner.annotation.about import About
from constrained_ner.data import Document
from constrained_ner.service.app import service
from constrained_ner.service.engine import Engine
from constrained_ner.service.limits import Limits
from constrained_ner.service.serving import listen, server
from constrained_ner.service.turns import Answer, Turns
from constrained_ner.service.watch import Log


@dataclass
class Served:
    """A running service. port: on 127.0.0.1. stop: begins a graceful end. thread: ends with the service."""

    port: int
    log: io.StringIO
    stop: Any
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@contextmanager
def served(engine: Engine, limits: Limits | None = None, **options: Any) -> Iterator[Served]:
    """Serve an engine until the block ends; the engine stays open."""
    limits, text = limits or Limits(), io.StringIO()
    log = Log(text, texts=options.pop("log_texts", False))
    listening = listen("127.0.0.1", 0)
    running = server(service(_Kept(engine), limits, log=log, **options), limits)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()

    def stop() -> None:
        running.should_exit = True

    try:
        wait_for(lambda: running.started)
        yield Served(listening.getsockname()[1], text, stop, thread)
    finally:
        stop()
        thread.join(30)
        listening.close()


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)


@dataclass
class _Kept:
    """An engine that outlives a service."""

    engine: Engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def close(self) -> None:
        pass


@dataclass
class HeldEngine:
    """Answers a document when `release` is set, without mentions; raises for a text "break"."""

    about: About
    knows_confidence: bool = True
    ready: bool = True
    n_at_once: int = 2
    release: threading.Event = field(default_factory=threading.Event)
    n_begun: int = 0
    n_stopped: int = 0

    def __post_init__(self) -> None:
        self._turns = Turns(self.n_at_once)

    def annotate(self, document: Document, options: Mapping[str, Any]) -> Answer[Document]:
        return self._turns.take(lambda answer: self._steps(document, answer))

    def _steps(self, document: Document, answer: Answer[Document]) -> Generator[None, None, Document]:
        self.n_begun += 1
        yield
        if document.text == "break":
            raise RuntimeError("/home/someone/secret.txt broke at 'a text of another'")
        while not self.release.wait(0.01):
            try:
                answer.check()
            except Exception:
                self.n_stopped += 1
                raise
        return document

    def close(self) -> None:
        pass
