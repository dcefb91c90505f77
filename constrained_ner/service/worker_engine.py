"""An engine of worker processes, each with the model in its memory.

A process that dies is replaced, and what it had not handed over is done again (see `runs.workers`): its
requests wait a little longer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..annotation.annotator import Annotator, Notify
from ..annotation.documents import settled
from ..annotation.result import Annotated
from ..annotation.settings import Settings
from ..annotation.xray import XRay
from ..backends import model_kind
from ..data import Document
from ..runs.workers import Crew, WorkerProcesses
from ..text.sentences import cut_document, known_names
from .engine import Stop, StoppedError, ThisProcess, whole

_SENTENCES = 4
"""Sentences that are handed to a process at once: a request that nobody waits for ends after them."""


class WorkerEngine:
    """An engine of n processes."""

    def __init__(self, n: int, settings: Settings, notify: Notify) -> None:
        self.n_at_once = n
        self._settings = settings
        self._notify = notify
        self._own: ThisProcess | None = None
        self._seats = [_Seat(n, notify) for _ in range(n)]
        self._free = list(self._seats)
        self._changed = threading.Condition()
        self.knows_confidence = settings.constrained and (
            settings.model is None or model_kind(settings.model) != "server"
        )
        try:
            crews = [seat.crew(settings) for seat in self._seats]
        except BaseException:
            self.close()
            raise
        self.about = crews[0].about
        self.ready = True

    def annotate(self, document: Document, options: Mapping[str, Any], stop: Stop) -> Document:
        settings = self._settings.changed(**options) if options else self._settings
        cut = cut_document(document, known_names())
        seat = self._take(settings)
        try:
            return seat.annotate(cut, settings, stop)
        finally:
            self._give_back(seat)

    def xray(self, text: str, options: Mapping[str, Any], stop: Stop) -> XRay:
        """Done here, by an annotator that is loaded when it is first needed."""
        with self._changed:
            if self._own is None:
                self._own = ThisProcess(Annotator.load(settings=self._settings, notify=self._notify))
        return self._own.xray(text, options, stop)

    def close(self) -> None:
        self.ready = False
        if self._own is not None:
            self._own.close()
        for seat in self._seats:
            seat.close()

    def _take(self, settings: Settings) -> _Seat:
        """A free seat, with these settings if possible: others have to be told."""
        with self._changed:
            while not self._free:
                self._changed.wait()
            fitting = next((seat for seat in self._free if seat.settings == settings), self._free[0])
            self._free.remove(fitting)
            return fitting

    def _give_back(self, seat: _Seat) -> None:
        with self._changed:
            self._free.append(seat)
            self._changed.notify()


class _Seat:
    """One worker process, replaced if it dies. Used by one thread at a time."""

    def __init__(self, n_seats: int, notify: Notify) -> None:
        self.processes = WorkerProcesses(1, n_beside=n_seats - 1)
        self.settings: Settings | None = None
        self._notify = notify
        self._crew: Crew | None = None

    def annotate(self, document: Document, settings: Settings, stop: Stop) -> Document:
        found: list[Annotated] = []
        try:
            crew = self.crew(settings)
            for stretch in whole(document):
                rest = stretch
                while rest.sentences:
                    stop.check()
                    asked = replace(rest, sentences=rest.sentences[:_SENTENCES])
                    results = list(crew.annotate([asked], _ignore))
                    found += results
                    rest = rest.after(results)
        except Exception as error:
            if not isinstance(error, StoppedError):
                self.close()  # what the process is at is not known
            raise
        return settled(document, found, crew.about)

    def crew(self, settings: Settings) -> Crew:
        """The process with these settings; it keeps the model that it has. Raises UserError."""
        if self._crew is None or settings != self.settings:
            self._crew = self.settings = None
            self._crew = self.processes.open(settings, self._notify).__enter__()
            self.settings = settings
        return self._crew

    def close(self) -> None:
        self._crew = self.settings = None
        self.processes.close()


def _ignore(*_: object) -> None:
    """The windows of long sentences are not reported."""
