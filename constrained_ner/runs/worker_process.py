"""One worker as the process sees it that started it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..annotation.result import Annotated
from ..annotation.settings import Settings
from .stretches import Stretch

_PATIENCE_S = 5.0


@dataclass
class WorkerProcess:
    """A process, its connection, and the stretch that it has; None if it waits for one.

    opened: the settings that it was told. is_open: whether it has loaded the model. results: those of the
    stretch so far, of which it may have been asked for the first sentence only.
    """

    slot: int
    process: Any
    connection: Any
    opened: Settings | None = None
    is_open: bool = False
    stretch: Stretch | None = None
    results: list[Annotated] = field(default_factory=list)

    def cause_of_death(self) -> str:
        """Example: "killed by SIGKILL (is there enough memory?)"."""
        self.process.join(_PATIENCE_S)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        return f"killed by {name}" + (" (is there enough memory?)" if name == "SIGKILL" else "")

    def end(self) -> None:
        """End the process, whatever it does; it holds nothing that has to be put in order."""
        self.connection.close()
        self.process.terminate()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started within never see Ctrl-C: it is for this process, which ends them."""
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
