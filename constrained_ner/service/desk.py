"""Between requests and the engine: documents are handed to threads, answers come back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..data import Document
from .engine import Engine, Stop

Source = TypeVar("Source")
Made = TypeVar("Made")


class Desk:
    """The threads in which the engine works, as many as it has use for. What is beyond them waits in line."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(engine.n_at_once, thread_name_prefix="annotate")

    @property
    def n_at_once(self) -> int:
        """How many texts of one request are handed in at a time, so that others are not far behind it."""
        return self.engine.n_at_once

    async def annotate(self, document: Document, options: Mapping[str, Any]) -> Document:
        """The document with its mentions (see `Engine.annotate`). Stops soon after it is cancelled."""
        return await self.run(self.engine.annotate, document, options)

    async def run(self, work: Callable[..., Made], *arguments: Any) -> Made:
        """Call `work(*arguments, stop)` in a thread."""
        stop = Stop()
        future = self._threads.submit(work, *arguments, stop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.requested = True  # if it had not begun, it never will
            raise

    def close(self) -> None:
        """Wait for what is running, and close the engine."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.engine.close()


async def in_order(
    sources: AsyncIterator[Source], work: Callable[[Source], Awaitable[Made]], n_at_once: int
) -> AsyncGenerator[Made, None]:
    """What `work` makes of each source, in order, with at most so many under way, done ones included.

    A source is asked for only when there is room for it. If the caller stops, all work is cancelled.
    """
    end: Any = object()

    async def following() -> Any:
        return await anext(sources, end)

    async def begun(source: Source) -> Made:
        return await work(source)

    under_way: deque[asyncio.Task[Made]] = deque()
    asked: asyncio.Task[Any] | None = asyncio.ensure_future(following())
    try:
        while under_way or asked:
            waited: set[asyncio.Task[Any]] = {under_way[0]} if under_way else set()
            if asked and len(under_way) < n_at_once:
                waited.add(asked)
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if asked in done:
                source = asked.result()
                asked = None if source is end else asyncio.ensure_future(following())
                if source is not end:
                    under_way.append(asyncio.ensure_future(begun(source)))
            while under_way and under_way[0].done():
                yield under_way.popleft().result()
    finally:
        left = [*under_way, *([asked] if asked else ())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
