"""A worker process: takes stretches from its parent, annotates them, and says what came out.

Messages are pairs of kind and content. From the parent: open (settings), about, annotate (a stretch). To it:
opened, about, result, done (peak memory), note, window, refused (a UserError's text), broken (a traceback).
The process ends when the parent hangs up, or is gone.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator, Backend, Notify
from ..annotation.settings import Settings
from ..errors import UserError
from ..processors import usable_threads
from .stretches import Stretch, annotate_all

Open = Callable[[Settings, Backend | None, Notify], Annotator]
"""Makes an annotator, over a back end that has loaded the same model, if there is one."""


def load(settings: Settings, backend: Backend | None, notify: Notify) -> Annotator:
    """The annotator that the settings name."""
    return Annotator.load(settings=settings, loaded=backend, notify=notify)


def work(connection: Any, open_annotator: Open, n_workers: int) -> None:
    """Serve the parent until it hangs up. n_workers: how many processes share the processors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(max(1, usable_threads() // n_workers))
    try:
        _Worker(connection, open_annotator).serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent hung up
    except UserError as error:
        connection.send(("refused", str(error)))
    except Exception:
        connection.send(("broken", traceback.format_exc()))


class _Worker:
    def __init__(self, connection: Any, open_annotator: Open) -> None:
        self._connection = connection
        self._open_annotator = open_annotator
        self._settings: Settings | None = None
        self._annotator: Annotator | None = None

    def serve(self) -> None:
        while True:
            kind, content = self._connection.recv()
            if kind == "open":
                self._open(content)
                self._say("opened", None)
            elif kind == "about":
                self._say("about", self._open_one().about())
            elif kind == "annotate":
                self._annotate(content)

    def _open(self, settings: Settings) -> None:
        """Open an annotator; it takes over the back end of the last one if that has the same model."""
        backend = None
        if self._settings is not None and _names_same_model(settings, self._settings):
            backend = self._open_one().backend
        elif self._annotator is not None:
            self._annotator.close()
        self._annotator = self._open_annotator(settings, backend, lambda text: self._say("note", text))
        self._settings = settings

    def _annotate(self, stretch: Stretch) -> None:
        def on_window(sentence_id: str, n_done: int, n_characters: int) -> None:
            self._say("window", (sentence_id, n_done, n_characters))

        for annotated in annotate_all(self._open_one(), [stretch], on_window):
            self._say("result", annotated)
        self._say("done", peak_memory_mb())

    def _open_one(self) -> Annotator:
        assert self._annotator is not None, "the parent opens first"
        return self._annotator

    def _say(self, kind: str, content: Any) -> None:
        self._connection.send((kind, content))


def _names_same_model(one: Settings, other: Settings) -> bool:
    return (one.model, one.model_options()) == (other.model, other.model_options())


def end_with_parent() -> None:
    """Wait for the end of the parent, even of one that was killed, and end this process at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB; 0 if the system does not say."""
    try:  # not `resource`: it counts what the parent held when it started this process
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peak_kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return round(int(peak_kb) / 1024, 1)
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return 0.0
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
