"""What an operator sees: metrics for Prometheus, and a log of JSON lines, without texts unless asked."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts of one service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        routes = "Requests, by route and status."
        self.requests = Counter("ner_requests", routes, ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "ner_request_seconds", "Duration of requests.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.texts = Counter("ner_texts", "Texts annotated.", registry=registry)
        self.characters = Counter("ner_characters", "Characters of sentences annotated.", registry=registry)
        self.mentions = Counter("ner_mentions", "Mentions found, by type.", ["type"], registry=registry)
        self.failures = Counter("ner_failed_sentences", "Sentences that failed.", registry=registry)
        self.in_house = Gauge("ner_requests_in_house", "Requests running or waiting.", registry=registry)
        self.vanished = Counter("ner_vanished_clients", "Clients that left unanswered.", registry=registry)

    def page(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self._registry)


class Log:
    """Writes a JSON line for each event. texts: whether the texts of requests are logged, too."""

    def __init__(self, stream: TextIO | None = None, *, texts: bool = False) -> None:
        self._stream = stream
        self.texts = texts

    def event(self, event: str, **fields: Any) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        print(
            json.dumps({"time": now, "event": event, **fields}), file=self._stream or sys.stderr, flush=True
        )

    def error(self, error: BaseException, **fields: Any) -> None:
        """An unexpected error: its type and where it was raised. Not its message, which may hold a text."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        said = {"message": str(error)} if self.texts else {}
        self.event("error", type=type(error).__name__, where=where, **said, **fields)


class Timer:
    """Seconds since it was made."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        return self._clock() - self._began
