"""What a person sees while a long run goes on: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

_PLAIN_EVERY_S = 10.0


class Progress:
    """Counts sentences towards a total, on standard error. Use it as a context manager around `advance`.

    quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._n_total = self._n_before = self._n_done = 0
        self._started_s = self._printed_s = 0.0
        self._bar: Bar | None = None

    def start(self, n_total: int, n_before: int = 0) -> Progress:
        """Begin. n_before: sentences that an earlier run has done; they do not count towards the speed."""
        self._n_total, self._n_before, self._n_done = n_total, n_before, n_before
        self._started_s = self._printed_s = time.monotonic()
        if not self._quiet and self._stream.isatty():
            self._bar = Bar(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("sentences"),
                _SpeedColumn(),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bar.add_task("", total=n_total, completed=n_before, n_before=n_before)
        return self

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self) -> None:
        """One more sentence is done."""
        self._n_done += 1
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])
        elif not self._quiet and time.monotonic() - self._printed_s >= _PLAIN_EVERY_S:
            self._printed_s = time.monotonic()
            per_s = (self._n_done - self._n_before) / (self._printed_s - self._started_s)
            left_s = (self._n_total - self._n_done) / per_s
            self.say(f"{self._n_done}/{self._n_total} sentences, {per_s:.1f}/s, {_clock(left_s)} left")

    def say(self, line: str) -> None:
        """A line of its own, above the bar if there is one."""
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(line, file=self._stream, flush=True)


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
