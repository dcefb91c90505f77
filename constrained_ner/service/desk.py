"""Between requests and the engine: documents are handed in, answers come back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..annotation.xray import XRay
from ..data import Document
from .engine import Engine
from .turns import Answer

Source = TypeVar("Source")
Made = TypeVar("Made")


class Desk:
    """Where requests wait for the engine, which works in threads or processes of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def n_at_once(self) -> int:
        """How many texts of one request are handed in at a time, so that others are not far behind it."""
        return self.engine.n_at_once

    async def annotate(self, document: Document, options: Mapping[str, Any]) -> Document:
        """The document with its mentions (see `Engine.annotate`). Given up soon after it is cancelled."""
        answer = self.engine.annotate(document, options)
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            answer.give_up()
            raise

    async def annotate_all(
        self, documents: Iterable[Document], options: Mapping[str, Any]
    ) -> AsyncGenerator[Document, None]:
        """Documents with their mentions, in order. If the caller stops, those under way are given up."""
        under_way: deque[Answer[Document]] = deque()
        try:
            for document in documents:
                under_way.append(self.engine.annotate(document, options))
                if len(under_way) == self.n_at_once:
                    yield await asyncio.wrap_future(under_way[0])
                    under_way.popleft()
            while under_way:
                yield await asyncio.wrap_future(under_way[0])
                under_way.popleft()
        finally:
            for answer in under_way:
                answer.give_up()

    async def xray(self, text: str, options: Mapping[str, Any]) -> XRay:
        """A sentence decision by decision (see `Engine.xray`)."""
        return await asyncio.wrap_future(self.engine.xray(text, options))

    def close(self) -> None:
        """Close the engine, after what is running."""
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
