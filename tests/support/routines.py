"""Many routines through one scheduler, results in order: what a caller of several decoders does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from constrained_ner.backends.protocol import LogitsBackend
from constrained_ner.decoding.scheduler import Result, Routine, Scheduler, Ticket


def run_all(
    routines: Iterable[Routine[Result]], backend: LogitsBackend, prefix_ids: tuple[int, ...] = ()
) -> Iterator[Result]:
    scheduler = Scheduler(backend)
    under_way: deque[Ticket[Result]] = deque()
    for routine in routines:
        under_way.append(scheduler.submit(routine, prefix_ids))
        if len(under_way) == 2 * backend.max_sequences:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
