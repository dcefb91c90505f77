"""What a service takes on: sizes, times, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a service.

    queue: requests in the house at once, running or waiting. body_bytes: of a request, or of a line of a
    stream. texts: of a request. characters: of a text. time_s: for a request; for a stream, for each text,
    and for each wait for its client. shutdown_s: to finish what is running.
    """

    queue: int = 256
    body_bytes: int = 2_000_000
    texts: int = 256
    characters: int = 200_000
    time_s: float = 60.0
    shutdown_s: float = 30.0
