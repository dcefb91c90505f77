"""An event loop in its own thread, so that callers need none, and may have one (notebooks do)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")

_CLOSING_TIMEOUT_S = 5.0


class EventLoop:
    """Runs coroutines. The thread is a daemon, so a hanging request does not keep the program alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="constrained-ner servers", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start a coroutine; any thread may call this. Cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        """Cancel all coroutines and end the thread. May be called again."""
        if self.closed:
            return
        with suppress(TimeoutError, FutureTimeoutError):  # a coroutine that will not be cancelled
            self.submit(self._cancel_all()).result(_CLOSING_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
