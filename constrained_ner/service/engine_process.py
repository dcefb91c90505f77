"""A worker process of the service: the engine of `engine.py` at the other end of a connection.

Messages are pairs of a number and a content. From the parent: the number of a job and what to call, or None
to give it up. To it: the number and an outcome; without a number, what the engine is (`Opened`), or a note.
The process ends when the parent hangs up, or is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..annotation.about import About
from ..annotation.settings import Settings
from ..data import Document
from ..errors import ConstrainedNerError, ModelError, UserError
from ..processors import usable_threads
from ..runs.worker import Open, end_with_parent
from .engine import ThisProcess
from .turns import Answer, StoppedError


class Call(NamedTuple):
    """A method of the engine and its arguments."""

    method: Literal["annotate", "xray"]
    subject: Document | str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """What an engine is; see `Engine`."""

    about: About
    knows_confidence: bool
    n_at_once: int


class Outcome(NamedTuple):
    """What a call returned, or the error that it raised."""

    result: Any
    error: Exception | None = None


def serve_parent(connection: Any, settings: Settings, open_annotator: Open, n_processes: int) -> None:
    """Serve the parent until it hangs up. n_processes: how many share the processors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(max(1, usable_threads() // n_processes))
    parent = _Parent(connection)
    try:
        with open_annotator(settings, None, lambda text: parent.tell(None, text)) as annotator:
            engine = ThisProcess(annotator)
            parent.tell(None, Opened(engine.about, engine.knows_confidence, engine.n_at_once))
            parent.serve(engine)
    except UserError as error:
        parent.tell(None, error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the parent hung up: nobody wants what is under way


class _Parent:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # answers come from the threads of the engine
        self._under_way: dict[int, Future[Any]] = {}

    def serve(self, engine: ThisProcess) -> None:
        while True:
            number, call = self._connection.recv()
            if call is None:
                given_up = self._under_way.get(number)
                if isinstance(given_up, Answer):
                    given_up.give_up()
                continue
            future = self._under_way[number] = getattr(engine, call.method)(call.subject, call.options)
            future.add_done_callback(lambda done, number=number: self._answer(number, done))

    def tell(self, number: int | None, content: Any) -> None:
        with self._lock:
            self._connection.send((number, content))

    def _answer(self, number: int, done: Future[Any]) -> None:
        self._under_way.pop(number, None)
        try:
            outcome = Outcome(done.result())
        except CancelledError:
            outcome = Outcome(None, StoppedError())
        except (ConstrainedNerError, StoppedError) as error:
            outcome = Outcome(None, _plain(error))
        except Exception:
            outcome = Outcome(None, RuntimeError(f"in a worker process:\n{traceback.format_exc()}"))
        with contextlib.suppress(OSError):  # the parent hung up
            self.tell(number, outcome)


def _plain(error: Exception) -> Exception:
    """The error as it is understood at the other end: of a class whose only argument is its message."""
    kind = type(error)
    try:
        return kind(*error.args)
    except TypeError:
        return ModelError(str(error))
