"""A training's log, on the terminal and in a file."""

from __future__ import annotations

import time
from pathlib import Path


class LogFile:
    """Writes lines to the terminal and to a file, each with the time since the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.monotonic()

    def __call__(self, line: str) -> None:
        stamped = f"[{time.monotonic() - self.began:.0f}s] {line}"
        print(stamped, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")
