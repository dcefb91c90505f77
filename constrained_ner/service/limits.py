"""What a service takes on: sizes, times, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a service.

    queue: requests in the house at once, running or waiting. body_bytes: of a request, or of a line of a
    stream. texts: of a request. characters: of a text. time_s: for a request; for a stream, for each text,
    and for each wait for its client. at_once: texts of one request that are worked on at the same time, so
    that a long request leaves room for others. shutdown_s: to finish what is running.
    """

    queue: int = 256
    body_bytes: int = 2_000_000
    texts: int = 256
    characters: int = 200_000
    time_s: float = 60.0
    at_once: int = 8
    shutdown_s: float = 30.0
