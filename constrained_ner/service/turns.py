"""Threads that work on documents in turns: a long one does not hold up the short ones behind it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")
Steps = Generator[None, None, Made]
"""Work that returns what it made, and pauses where others may have a turn."""


class StoppedError(Exception):
    """Nobody wants the answer any more."""


class Answer(Future[Made]):
    """What is to come. Its work looks now and then whether it is still wanted."""

    is_wanted = True

    def give_up(self) -> None:
        """Say that nobody wants it: if it has not begun it never will, else it ends soon."""
        self.is_wanted = False
        self.cancel()

    def check(self, *_: object) -> None:
        """Raise StoppedError if it is not wanted any more."""
        if not self.is_wanted:
            raise StoppedError


class Turns:
    """A number of threads, and a queue of work. Work that pauses goes to the end of the queue."""

    def __init__(self, n_threads: int) -> None:
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="annotate")

    def take(self, work: Callable[[Answer[Made]], Steps[Made]]) -> Answer[Made]:
        """What the steps of this work make. work: is given the answer, which it should `check`."""
        answer = Answer[Made]()
        self._threads.submit(self._begin, work, answer)
        return answer

    def call(self, function: Callable[[], Made]) -> Future[Made]:
        """What a function returns, which is called in one go."""
        return self._threads.submit(function)

    def close(self) -> None:
        """Wait for the steps that are running; what waits in the queue never ends."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin(self, work: Callable[[Answer[Made]], Steps[Made]], answer: Answer[Made]) -> None:
        if answer.set_running_or_notify_cancel():
            self._step(work(answer), answer)

    def _step(self, steps: Steps[Made], answer: Answer[Made]) -> None:
        try:
            next(steps)
            self._threads.submit(self._step, steps, answer)
        except StopIteration as end:
            answer.set_result(end.value)
        except Exception as error:  # also of a queue that was closed
            answer.set_exception(error)
