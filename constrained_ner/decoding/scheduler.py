"""Many decoders over one back end: each forward pass serves every sentence that is under way."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..backends.protocol import LogitsBackend, Scores, Step
from .answer import Extend

Result = TypeVar("Result")
Routine = Generator[Extend, Sequence[Scores | None], Result]
"""A decoder, or anything that is made of decoders and returns a result of its own."""


@dataclass(frozen=True, slots=True)
class _Finished(Generic[Result]):
    result: Result


@dataclass(slots=True)
class _Running(Generic[Result]):
    number: int
    routine: Routine[Result]
    request: Extend


def run_all(routines: Iterable[Routine[Result]], backend: LogitsBackend) -> Iterator[Result]:
    """The results of the routines, in their order; as many run at once as the back end has slots.

    A new routine starts as soon as a slot is free, so a long sentence holds up nobody. Routines are taken
    from the iterable only when they can start: it may be endless.
    """
    waiting = enumerate(routines)
    running: dict[int, _Running[Result]] = {}  # slot -> what runs there
    finished: dict[int, Result] = {}  # number -> a result that waits for its turn
    n_yielded = 0
    while True:
        for slot in range(backend.max_sequences):
            while slot not in running and (following := next(waiting, None)) is not None:
                number, routine = following
                outcome = _resume(routine, None)
                if isinstance(outcome, _Finished):
                    finished[number] = outcome.result
                else:
                    running[slot] = _Running(number, routine, outcome)
        while n_yielded in finished:
            yield finished.pop(n_yielded)
            n_yielded += 1
        if not running:
            return
        steps = [
            Step(slot, job.request.keep, job.request.token_ids, job.request.watch)
            for slot, job in running.items()
        ]
        for step, scores in zip(steps, backend.forward(steps), strict=True):
            job = running[step.sequence]
            outcome = _resume(job.routine, scores)
            if isinstance(outcome, _Finished):
                finished[job.number] = outcome.result
                del running[step.sequence]
            else:
                job.request = outcome


def _resume(routine: Routine[Result], scores: Sequence[Scores | None] | None) -> Extend | _Finished[Result]:
    """Run a routine up to its next request, or to its end."""
    try:
        return next(routine) if scores is None else routine.send(scores)
    except StopIteration as stop:
        return _Finished(stop.value)
