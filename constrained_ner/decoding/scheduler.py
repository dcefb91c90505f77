"""Whose turn it is: many decoders, from any number of callers and threads, over one back end.

A scheduler owns its back end and the back end's sequence slots. Callers hand in routines and get tickets. A
ticket's `result` runs forward passes until its own routine is done; each pass serves every routine that has a
slot, whoever handed it in. There is no thread of its own: whoever waits does the work, one at a time.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar

from ..backends.protocol import LogitsBackend, Scores
from ..errors import ModelError
from .answer import Extend

Result = TypeVar("Result")
Routine = Generator[Extend, Sequence[Scores | None], Result]
"""A decoder, or any generator that asks for forward passes like one and returns a result of its own."""


class Ticket(Generic[Result]):
    """A routine that was handed to a scheduler."""

    def __init__(self, scheduler: Scheduler, routine: Routine[Result], prefix_ids: tuple[int, ...]) -> None:
        self.routine = routine
        self.prefix_ids = prefix_ids
        self.request: Extend | None = None
        self.done = self.cancelled = False
        self._scheduler = scheduler
        self._result: Result
        self._error: BaseException | None = None

    def result(self) -> Result:
        """What the routine returned, or raise what it raised. Runs forward passes until it is known."""
        self._scheduler.run_until_done(self)
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Give up; the slot is free from the next forward pass on.

        Only sets a flag, so it is safe anywhere: in another thread, in a finaliser in the middle of a pass.
        """
        self.cancelled = True

    def resume(self, scores: Sequence[Scores | None] | None) -> None:
        """Run the routine up to its next request, or to its end."""
        try:
            self.request = next(self.routine) if scores is None else self.routine.send(scores)
        except StopIteration as stop:
            self._result = stop.value
            self.done = True
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the routine with an error, which `result` raises, unless it is done already."""
        if self.done:
            return
        self.routine.close()
        self._error = error
        self.done = True


class Scheduler:
    """The owner of one back end. Safe to call from several threads; not from a forked process.

    Routines start in the order in which they were handed in, as soon as a slot is free, so a long sentence
    holds up nobody. Those of another shared prefix wait until the ones that are running have ended.
    """

    def __init__(self, backend: LogitsBackend) -> None:
        self._backend = backend
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._submitted: deque[Ticket[Any]] = deque()  # filled without the lock: handing in waits for no pass
        self._waiting: deque[Ticket[Any]] = deque()
        self._running: dict[int, Ticket[Any]] = {}  # slot -> what runs there
        self._prefix_ids: tuple[int, ...] | None = None
        self._is_closed = False

    def prefill(self, prefix_ids: Sequence[int]) -> None:
        """Compute a shared prefix now, unless others are running: then its first routine will wait for it."""
        self.require_own_process()
        with self._lock:
            self._drop_cancelled()
            if not self._running:
                self._use_prefix(tuple(prefix_ids))

    def submit(self, routine: Routine[Result], prefix_ids: Sequence[int] = ()) -> Ticket[Result]:
        """Hand in a routine, whose tokens follow the shared prefix."""
        self.require_own_process()
        ticket = Ticket(self, routine, tuple(prefix_ids))
        if self._is_closed:
            raise ModelError("the model is closed")
        self._submitted.append(ticket)
        return ticket

    def run_until_done(self, ticket: Ticket[Any]) -> None:
        """Run forward passes, or wait while another thread runs them, until the ticket is done."""
        self.require_own_process()
        while not ticket.done:
            with self._lock:
                if self._is_closed:
                    self._fail_all()
                elif not ticket.done:
                    self._pass()

    def close(self) -> None:
        """Close the back end after the pass that is running. What is not done ends with a ModelError."""
        self._is_closed = True  # before the lock: a thread that runs passes takes it again at once
        with self._lock:
            self._fail_all()
            self._backend.close()

    def require_own_process(self) -> None:
        """Raise ModelError in a forked process: a model's threads do not survive the fork."""
        if os.getpid() != self._process:
            raise ModelError(
                f"the model was loaded in process {self._process} and cannot be used in a fork of it: "
                "load one in each worker process"
            )

    # ---- under the lock

    def _pass(self) -> None:
        """One forward pass over all slots, after the free ones have been given to those that wait.

        An error of the model ends the routines that took part: each ticket raises it for its own caller.
        """
        try:
            self._take_submitted()
            self._drop_cancelled()
            self._fill_slots()
            steps = [
                ticket.request.step(slot)
                for slot, ticket in self._running.items()
                if ticket.request is not None
            ]
            for step, scores in zip(steps, self._backend.forward(steps) if steps else (), strict=True):
                self._running[step.sequence].resume(scores)
            self._free_slots()
        except Exception as error:
            self._fail_running(error)
        except BaseException:  # what the slots hold is no longer known
            self._fail_running(ModelError("the forward pass was interrupted"))
            raise

    def _take_submitted(self) -> None:
        while self._submitted:
            ticket = self._submitted[0]
            if not self._waiting or self._waiting[-1] is not ticket:  # unless an interrupt came between these
                self._waiting.append(ticket)
            self._submitted.popleft()

    def _fail_all(self) -> None:
        self._take_submitted()
        for ticket in (*self._running.values(), *self._waiting):
            ticket.fail(ModelError("the model is closed"))
        self._running.clear()
        self._waiting.clear()

    def _fail_running(self, error: Exception) -> None:
        for ticket in self._running.values():
            ticket.fail(error)
        self._running.clear()

    def _fill_slots(self) -> None:
        for slot in range(self._backend.max_sequences):
            while slot not in self._running and self._waiting:
                ticket = self._waiting[0]
                if self._running and not self._has_prefix(ticket.prefix_ids):
                    return
                self._running[slot] = ticket
                self._waiting.popleft()  # after it has a slot: an interrupt must not lose it
                try:
                    self._use_prefix(ticket.prefix_ids)
                except Exception as error:
                    ticket.fail(error)
                else:
                    ticket.resume(None)
                self._free_slots()

    def _drop_cancelled(self) -> None:
        for ticket in (*self._running.values(), *self._waiting):
            if ticket.cancelled:
                ticket.fail(RoutineCancelledError())
        self._waiting = deque(ticket for ticket in self._waiting if not ticket.done)
        self._free_slots()

    def _free_slots(self) -> None:
        for slot in [slot for slot, ticket in self._running.items() if ticket.done]:
            del self._running[slot]

    def _use_prefix(self, prefix_ids: tuple[int, ...]) -> None:
        if not self._has_prefix(prefix_ids):
            self._prefix_ids = None  # until the new one is computed
            self._backend.prefill(prefix_ids)
            self._prefix_ids = prefix_ids

    def _has_prefix(self, prefix_ids: tuple[int, ...]) -> bool:
        return prefix_ids is self._prefix_ids or prefix_ids == self._prefix_ids


class RoutineCancelledError(Exception):
    """The caller cancelled this routine."""


_schedulers: weakref.WeakValueDictionary[int, Scheduler] = weakref.WeakValueDictionary()
_schedulers_lock = threading.Lock()


def scheduler_of(backend: LogitsBackend) -> Scheduler:
    """The scheduler that owns a back end: one, however many annotators share the model."""
    with _schedulers_lock:
        scheduler = _schedulers.get(id(backend))
        if scheduler is None:
            scheduler = _schedulers[id(backend)] = Scheduler(backend)
        return scheduler
