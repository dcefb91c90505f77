"""The display of a long run's progress: a spinner and a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..rendering.visible import visible_lines

_PLAIN_EVERY_S = 10.0
_PATIENCE_S = 1.0
"""After so many seconds of silence, a log file gets a line that says what is going on."""


class ProgressDisplay:
    """Counts sentences towards a total, on standard error. Use it as a context manager around `advance`.

        with progress.during("loading tiny.gguf"):
            ...
        with progress.start(1477):
            progress.advance()

    quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._n_total = self._n_before = self._n_done = 0
        self._started_s = self._printed_s = 0.0
        self._bar: Progress | None = None
        self._notes: set[str] = set()

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Show what is going on while nothing can be counted; in a log file only if it takes a second."""
        if self._quiet:
            yield
        elif self._stream.isatty():
            columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
            with Progress(*columns, console=Console(file=self._stream), transient=True) as spinner:
                spinner.add_task(what, total=None)
                self._bar = spinner
                try:
                    yield
                finally:
                    self._bar = None
        else:
            line = threading.Timer(_PATIENCE_S, self.say, [what])
            line.daemon = True
            line.start()
            try:
                yield
            finally:
                line.cancel()

    def start(self, n_total: int, n_before: int = 0) -> ProgressDisplay:
        """Begin. n_before: sentences that an earlier run has done; they do not count towards the speed."""
        self._n_total, self._n_before, self._n_done = n_total, n_before, n_before
        self._started_s = self._printed_s = time.monotonic()
        if not self._quiet and self._stream.isatty():
            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("sentences"),
                _SpeedColumn(),
                TimeRemainingColumn(),
                TextColumn("left{task.fields[note]}", markup=False),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bar.add_task("", total=n_total, completed=n_before, n_before=n_before, note="")
        return self

    def __enter__(self) -> ProgressDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, n: int = 1) -> None:
        """So many more sentences are done."""
        self._n_done += n
        if self._bar:
            self._bar.update(self._bar.task_ids[0], advance=n, note="")
        elif self._is_due():
            per_s = (self._n_done - self._n_before) / (self._printed_s - self._started_s)
            left_s = (self._n_total - self._n_done) / per_s
            self.say(f"{self._n_done}/{self._n_total} sentences, {per_s:.1f}/s, {_clock(left_s)} left")

    def within(self, sentence_id: str, n_done: int, n_characters: int) -> None:
        """Part of a long sentence is done."""
        note = f"sentence {sentence_id}: {n_done} of {n_characters} characters"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], note=f" ({note})")
        elif self._is_due():
            self.say(f"{self._n_done}/{self._n_total} sentences, {note}")

    def say(self, line: str) -> None:
        """Print a line of its own, above the bar if there is one."""
        line = visible_lines(line)
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(line, file=self._stream, flush=True)

    def note(self, message: str) -> None:
        """Print what was decided on the user's behalf, once."""
        if message not in self._notes:
            self._notes.add(message)
            self.say(f"note: {message}")

    def _is_due(self) -> bool:
        """Whether it is time for another plain line."""
        now_s = time.monotonic()
        if self._quiet or now_s - self._printed_s < _PLAIN_EVERY_S:
            return False
        self._printed_s = now_s
        return True


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed_s = task.elapsed or 0.0
        n_done = task.completed - task.fields["n_before"]
        return Text(f"{n_done / elapsed_s:.1f}/s" if elapsed_s else "-/s")


def _clock(seconds: float) -> str:
    """Example: _clock(3725) -> "1:02:05"."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"
