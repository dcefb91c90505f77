"""Who annotates the sentences of a run: the annotator of this process, or worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from ..annotation.about import About
from ..annotation.annotator import Annotator
from ..annotation.pipeline import OnWindow
from ..annotation.result import Annotated
from ..backends import model_kind
from ..errors import UserError
from ..processors import usable_processors
from .stretches import Stretch, annotate_all
from .worker import Open, load, peak_memory_mb
from .workers import WorkerProcesses


class Team(Protocol):
    """Who annotates the sentences of a run.

    peak_memory_mb: the most memory that each process has held.
    """

    @property
    def about(self) -> About: ...

    @property
    def peak_memory_mb(self) -> tuple[float, ...]: ...

    def annotate(self, stretches: Iterable[Stretch], on_window: OnWindow) -> Iterator[Annotated]:
        """The results as they are done; those of a stretch in order. Raises UserError if none can go on."""


class ThisProcess:
    """A team of one annotator, in this process."""

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self.about = annotator.about()

    @property
    def peak_memory_mb(self) -> tuple[float, ...]:
        return (peak_memory_mb(),)

    def annotate(self, stretches: Iterable[Stretch], on_window: OnWindow) -> Iterator[Annotated]:
        return annotate_all(self._annotator, stretches, on_window)


@contextmanager
def worker_processes(
    asked: int | Literal["auto"], model: str | None, open_annotator: Open = load
) -> Iterator[WorkerProcesses | None]:
    """As many processes as were asked for; None for one, which is this process.

    auto: as many as this process may use processors, but one for a server, which takes several requests at
    once. Raises UserError for more on a server.
    """
    on_server = model is not None and model_kind(model) == "server"
    if on_server and asked not in (1, "auto"):
        raise UserError(f"--workers {asked}: {model} is on a server; use --batch for more requests at once")
    n = asked if asked != "auto" else 1 if on_server else usable_processors()
    if n == 1:
        yield None
    else:
        with WorkerProcesses(n, open_annotator) as pool:
            yield pool
