"""An engine of worker processes, each with the model in its memory and an engine of its own.

One thread of this process talks to all of them. A process that dies is replaced, and what it was at is done
again: each document by itself, so that one at which processes die takes no others with it. After three deaths
it is answered as one that failed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any, TypeVar

from ..annotation.annotator import Notify
from ..annotation.settings import Settings
from ..annotation.xray import XRay
from ..data import Document
from ..errors import ModelError
from ..runs.worker import Open, load
from ..runs.worker_process import WorkerProcess, without_interrupts
from ..text.sentences import cut_document, known_names
from .engine_process import Call, Opened, Outcome, serve_parent
from .turns import Answer, StoppedError

Made = TypeVar("Made")

_TRIES = 3
"""How often a document is begun, if the process dies at it."""
_STARTS = 3
"""How often processes may die in a row before they have the model."""


class WorkerEngine:
    """An engine of n processes. Raises UserError if they cannot load the model.

    open_annotator: a function of a module, which the processes import.
    """

    def __init__(self, n: int, settings: Settings, notify: Notify, open_annotator: Open = load) -> None:
        self._crew = _Crew(n, settings, notify, open_annotator)
        try:
            opened = self._crew.opened.result()
        except BaseException:
            self._crew.close()
            raise
        self.about, self.knows_confidence = opened.about, opened.knows_confidence
        self.n_at_once = n * opened.n_at_once

    @property
    def ready(self) -> bool:
        return self._crew.works

    def annotate(self, document: Document, options: Mapping[str, Any]) -> Answer[Document]:
        return self._crew.ask(_Job[Document](Call("annotate", document, options), self._crew.wake))

    def xray(self, text: str, options: Mapping[str, Any]) -> Future[XRay]:
        return self._crew.ask(_Job[XRay](Call("xray", text, options), self._crew.wake))

    def close(self) -> None:
        self._crew.close()


class _Job(Answer[Made]):
    """A call on its way. n_deaths: of processes that were at it. is_told: that it was given up."""

    def __init__(self, call: Call, wake: Any) -> None:
        super().__init__()
        self.call = call
        self.n_deaths = 0
        self.is_told = False
        self._wake = wake

    def give_up(self) -> None:
        super().give_up()
        self._wake()

    def begin(self) -> bool:
        """Whether it is to be done; once it has begun it cannot be cancelled."""
        return self.running() or self.set_running_or_notify_cancel()


class _Crew:
    """The processes, and the thread that talks to them. What is below `_talk` runs in this thread only.

    opened: what the processes are, once all of them have the model.
    """

    def __init__(self, n: int, settings: Settings, notify: Notify, open_annotator: Open) -> None:
        self.opened: Future[Opened] = Future()
        self.works = True
        self._is_closing = False
        self._error: Exception = ModelError("the model is closed")
        self._notify = notify
        self._to_start = (settings, open_annotator, n)
        self._said: set[str] = set()
        self._n_failed_starts = 0
        self._spawn = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of libraries
        self._asked: deque[_Job[Any]] = deque()  # filled by other threads
        self._waiting: deque[_Job[Any]] = deque()
        self._woken, self._waker = multiprocessing.Pipe(duplex=False)
        self._is_awake = threading.Event()
        self._processes = [self._start(slot) for slot in range(n)]
        self._thread = threading.Thread(target=self._run, name="workers", daemon=True)
        self._thread.start()

    def ask(self, job: _Job[Made]) -> _Job[Made]:
        self._asked.append(job)
        self.wake()
        if not self.works:
            self._refuse_asked()
        return job

    def wake(self) -> None:
        """Let the thread look again."""
        if self.works and not self._is_awake.is_set():
            self._is_awake.set()
            self._waker.send_bytes(b".")

    def close(self) -> None:
        self._is_closing = True
        self.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._talk()
        except Exception as error:
            self._error = error
        self.works = False
        if not self.opened.done():
            self.opened.set_exception(self._error)
        for job in (*self._waiting, *(job for process in self._processes for job in process.jobs.values())):
            self._refuse(job)
        self._refuse_asked()
        for process in self._processes:
            process.worker.end()

    def _refuse_asked(self) -> None:
        """By whichever thread comes to it: what is asked for while the engine ends has an answer, too."""
        with contextlib.suppress(IndexError):
            while True:
                self._refuse(self._asked.popleft())

    def _refuse(self, job: _Job[Any]) -> None:
        if job.begin():
            job.set_exception(self._error)

    def _talk(self) -> None:
        while not self._is_closing:
            self._hand_out()
            connections: dict[Any, _Process] = {p.connection: p for p in self._processes}
            for connection in wait([self._woken, *connections]):
                if connection is self._woken:
                    self._woken.recv_bytes()
                    self._is_awake.clear()
                else:
                    self._hear(connections[connection])

    def _hand_out(self) -> None:
        """Give what waits to the process that has least to do, while there is room."""
        while self._asked:
            self._waiting.append(self._asked.popleft())
        for process in self._processes:
            process.tell_given_up()
        while self._waiting:
            job = self._waiting[0]
            free = [process for process in self._processes if process.takes(job)]
            if not free:
                return
            self._waiting.popleft()
            if job.begin():
                min(free, key=lambda process: len(process.jobs)).give(job)

    def _hear(self, process: _Process) -> None:
        try:
            number, content = process.connection.recv()
        except (EOFError, OSError):
            self._bury(process)
            return
        if number is not None:
            process.end_job(number, content)
        elif isinstance(content, Opened):
            process.room, self._n_failed_starts = content.n_at_once, 0
            if not self.opened.done() and all(process.room for process in self._processes):
                self.opened.set_result(content)
        elif isinstance(content, str) and content not in self._said:
            self._said.add(content)
            self._notify(content)
        elif isinstance(content, Exception):
            raise content

    def _bury(self, process: _Process) -> None:
        """Replace a process that died, and put back what it was at. Raises ModelError if it is hopeless."""
        cause = process.worker.cause_of_death()
        self._notify(f"worker {process.worker.slot + 1} died ({cause}); another takes its place")
        self._n_failed_starts += not process.room
        if self._n_failed_starts >= _STARTS:
            raise ModelError(f"worker processes die while they start ({cause}, {_STARTS} times in a row)")
        self._processes[process.worker.slot] = self._start(process.worker.slot)
        process.worker.end()
        for job in reversed(process.jobs.values()):
            job.n_deaths += 1
            if job.is_wanted and job.n_deaths < _TRIES:
                self._waiting.appendleft(job)
            else:
                _fail(job, f"the process died at it {_TRIES} times: {cause}")

    def _start(self, slot: int) -> _Process:
        ours, theirs = self._spawn.Pipe()
        process = self._spawn.Process(target=serve_parent, args=(theirs, *self._to_start), daemon=True)
        with without_interrupts():
            process.start()
        theirs.close()  # ours ends when theirs does
        return _Process(WorkerProcess(slot, process, ours))


class _Process:
    """A process with the jobs that it is at, by number. room: how many it takes; 0 until it has the model."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.connection = worker.connection
        self.jobs: dict[int, _Job[Any]] = {}
        self.room = 0
        self._n_given = 0

    def takes(self, job: _Job[Any]) -> bool:
        """Whether it has room. What a process has died at is done by itself."""
        if job.n_deaths or any(other.n_deaths for other in self.jobs.values()):
            return self.room > 0 and not self.jobs
        return len(self.jobs) < self.room

    def give(self, job: _Job[Any]) -> None:
        self._n_given += 1
        self.jobs[self._n_given] = job
        self._send(self._n_given, job.call)

    def tell_given_up(self) -> None:
        for number, job in self.jobs.items():
            if not (job.is_wanted or job.is_told):
                job.is_told = True
                self._send(number, None)

    def end_job(self, number: int, outcome: Outcome) -> None:
        job = self.jobs.pop(number)
        if outcome.error is None:
            job.set_result(outcome.result)
        else:
            job.set_exception(outcome.error)

    def _send(self, number: int, content: Any) -> None:
        with contextlib.suppress(OSError):  # it has died: that is heard next
            self.connection.send((number, content))


def _fail(job: _Job[Any], why: str) -> None:
    """Answer for a job that cannot be done."""
    if not job.is_wanted:
        job.set_exception(StoppedError())
    elif isinstance(job.call.subject, Document):
        cut = cut_document(job.call.subject, known_names())
        job.set_result(replace(cut, sentences=tuple(replace(s, failure=why) for s in cut)))
    else:
        job.set_exception(ModelError(why))
