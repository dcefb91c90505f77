"""Processes that annotate together, with an annotator each.

    with WorkerProcesses(4) as workers, workers.open(settings, notify) as crew:
        for annotated in crew.annotate(stretches, on_window):      # as they are done, in any order
            ...

They share nothing: each loads the model and takes a stretch at a time. One that dies is replaced, and what it
had not handed over is done again: first the sentence that it died at, by itself. If that kills two more, the
sentence has failed. `worker.py` is the other end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..annotation.about import About
from ..annotation.annotator import Notify
from ..annotation.pipeline import OnWindow
from ..annotation.result import Annotated
from ..annotation.settings import Settings
from ..errors import ModelError
from .stretches import Stretch
from .worker import Open, load, work
from .worker_process import WorkerProcess, without_interrupts

_TRIES = 3
"""How often a sentence is begun, if the process dies at it."""
_DEATHS_IN_A_ROW = 3 * _TRIES
"""After so many without a result between them, it is not the sentences."""
_STARTS = 3
"""How often a worker is started in a row if it dies before it has the model."""


class WorkerProcesses:
    """At most n processes, started when they are needed. Use it in a `with` block, or `close` it.

    open_annotator: a function of a module, which the processes import. A worker keeps the model that it has
    loaded as long as the settings name the same one, so a pool may serve several runs.
    """

    def __init__(self, n: int, open_annotator: Open = load) -> None:
        self._n = n
        self._open_annotator = open_annotator
        self._spawn = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of libraries
        self._workers: dict[int, WorkerProcess] = {}
        self._settings = Settings()
        self._notify: Notify = print
        self._said: set[str] = set()
        self._n_failed_starts = 0
        self._peaks: dict[int, float] = {}

    @contextmanager
    def open(self, settings: Settings, notify: Notify) -> Iterator[Crew]:
        """The processes with these settings. notify: called once for what several workers say.

        Raises UserError if a first worker cannot load the model.
        """
        self._settings, self._notify, self._said = settings, notify, set()
        self._peaks = {}
        try:
            yield Crew(self, self._ask_about())
        except BaseException:
            self.close()  # what the workers are at is of no use to another run
            raise

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers.values():
            worker.end()
        self._workers = {}

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def peak_memory_mb(self) -> tuple[float, ...]:
        return tuple(peak for _, peak in sorted(self._peaks.items()))

    def annotate(self, stretches: Iterable[Stretch], on_window: OnWindow) -> Iterator[Annotated]:
        waiting: deque[Stretch] = deque()  # the next ones, and what has to be done again
        source = iter(stretches)

        def next_stretch() -> Stretch | None:
            return waiting.popleft() if waiting else next(source, None)

        n_deaths: Counter[str] = Counter()  # by the id of the sentence
        held: list[Annotated] = []  # sentences that failed by a death, until it is clear that others do not
        n_in_a_row = 0
        for slot in range(self._n):
            stretch = next(source, None)
            if stretch is None:
                break
            waiting.append(stretch)
            self._worker(slot)
        while True:
            for worker in self._workers.values():
                if worker.stretch is None and (stretch := next_stretch()) is not None:
                    self._give(worker, stretch, n_deaths)
            if not any(worker.stretch for worker in self._workers.values()):
                break
            for worker in self._that_speak():
                message = self._hear(worker, on_window)
                if message == "died":
                    n_in_a_row += 1
                    held += self._bury(worker, waiting, n_deaths, n_in_a_row)
                elif message == "done":
                    waiting.extendleft(_rest(worker))
                elif isinstance(message, Annotated):
                    n_in_a_row = self._n_failed_starts = 0
                    yield from (*held, message)
                    held = []
        yield from held

    # ---- talking to workers

    def _that_speak(self) -> list[WorkerProcess]:
        by_connection = {worker.connection: worker for worker in self._workers.values()}
        ready = multiprocessing.connection.wait(list(by_connection))
        return [by_connection[connection] for connection in ready]

    def _give(self, worker: WorkerProcess, stretch: Stretch, n_deaths: Counter[str]) -> None:
        """Ask a worker for a stretch; for only its first sentence if a process has died at that."""
        alone = n_deaths[stretch.sentences[0].id]
        asked = replace(stretch, sentences=stretch.sentences[:1]) if alone else stretch
        worker.stretch, worker.results = stretch, []
        with contextlib.suppress(OSError):  # it has died: `_hear` will notice
            self._tell_settings(worker)
            worker.connection.send(("annotate", asked))

    def _tell_settings(self, worker: WorkerProcess) -> None:
        if worker.opened is not self._settings:
            worker.opened, worker.is_open = self._settings, False
            worker.connection.send(("open", self._settings))

    def _hear(self, worker: WorkerProcess, on_window: OnWindow | None = None) -> Any:
        """The worker's next message: a result, an About, "done", "died"; None if it was dealt with here."""
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            return "died"
        if kind == "opened":
            worker.is_open, self._n_failed_starts = True, 0
        elif kind == "note" and content not in self._said:
            self._said.add(content)
            self._notify(content)
        elif kind == "window" and on_window is not None:
            on_window(*content)
        elif kind == "refused":
            raise ModelError(content)
        elif kind == "broken":
            raise RuntimeError(f"unexpected error in a worker process:\n{content}")
        elif kind == "result":
            worker.results.append(content)
            return content
        elif kind == "done":
            self._peaks[worker.slot] = max(content, self._peaks.get(worker.slot, 0.0))
            return "done"
        elif kind == "about":
            return content
        return None

    def _ask_about(self) -> About:
        while True:
            worker = self._worker(0)
            with contextlib.suppress(OSError):
                self._tell_settings(worker)
                worker.connection.send(("about", None))
            message = None
            while message is None:
                message = self._hear(worker)
            if isinstance(message, About):
                return message
            self._replace(worker)

    # ---- starting and burying

    def _worker(self, slot: int) -> WorkerProcess:
        """The worker of a slot, started if there is none."""
        if slot not in self._workers:
            ours, theirs = self._spawn.Pipe()
            process = self._spawn.Process(
                target=work, args=(theirs, self._open_annotator, self._n), daemon=True
            )
            with without_interrupts():
                process.start()
                self._workers[slot] = WorkerProcess(slot, process, ours)
            theirs.close()  # ours ends when theirs does
        return self._workers[slot]

    def _replace(self, worker: WorkerProcess) -> str:
        """End what is left of a worker, and start another. Returns what it died of.

        Raises ModelError if workers die again and again before they have the model.
        """
        cause = worker.cause_of_death()
        del self._workers[worker.slot]
        self._n_failed_starts += not worker.is_open
        worker.end()
        if self._n_failed_starts >= _STARTS:
            raise ModelError(
                f"worker processes die while they start ({cause}, {_STARTS} times in a row): try one worker; "
                "a script that starts workers needs `if __name__ == '__main__':`"
            )
        self._worker(worker.slot)
        return cause

    def _bury(
        self, worker: WorkerProcess, waiting: deque[Stretch], n_deaths: Counter[str], n_in_a_row: int
    ) -> list[Annotated]:
        """Replace a worker that died and put back what it had. Returns a sentence that has failed by it."""
        cause = self._replace(worker)
        if not worker.is_open or worker.stretch is None:
            waiting.extendleft([worker.stretch] if worker.stretch else ())
            return []
        left = worker.stretch.after(worker.results)
        if n_in_a_row >= _DEATHS_IN_A_ROW:
            raise ModelError(
                f"worker processes die at every sentence ({cause}, {n_in_a_row} times in a row); "
                "fewer --workers need less memory"
            )
        failed: list[Annotated] = []
        if left.sentences:
            first = left.sentences[0]
            n_deaths[first.id] += 1
            if n_deaths[first.id] == _TRIES:
                why = f"the process died at it {_TRIES} times: {cause}"
                failed = [Annotated(first.with_mentions(()), failure=why)]
                left = left.after(failed)
        if left.sentences:
            waiting.appendleft(left)
        return failed


@dataclass(frozen=True)
class Crew:
    """Worker processes with the settings of one run."""

    processes: WorkerProcesses
    about: About

    @property
    def peak_memory_mb(self) -> tuple[float, ...]:
        return self.processes.peak_memory_mb

    def annotate(self, stretches: Iterable[Stretch], on_window: OnWindow) -> Iterator[Annotated]:
        return self.processes.annotate(stretches, on_window)


def _rest(worker: WorkerProcess) -> Sequence[Stretch]:
    """What a worker was not asked for of its stretch; it is free afterwards."""
    assert worker.stretch is not None
    left = worker.stretch.after(worker.results)
    worker.stretch = None
    return [left] if left.sentences else []
