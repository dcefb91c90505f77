"""JSON lines in, JSON lines out, in order, while both are under way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from ..errors import UserError
from .answers import as_json, record_of
from .bodies import Text, document_of, misfit, n_characters
from .desk import Desk, in_order
from .gate import ClientLeftError, Receive, Scope, Send
from .limits import Limits

_TEXT: TypeAdapter[Any] = TypeAdapter(Text)


class Line(NamedTuple):
    """A line of the request. number: from 1. content: None if it is too long."""

    number: int
    content: bytes | None


class LinesResponse(Response):
    """Answers the lines of a request, which it reads itself, as they come.

    A line that cannot be answered has an answer, too: its number, its id if it has one, and what is wrong.
    on_done: called with each document. Holds a few lines at a time: it reads on when there is room, and there
    is room when the client has read. A client that neither sends nor reads for too long is cut off.
    """

    media_type = "application/x-ndjson"

    def __init__(
        self, desk: Desk, options: Mapping[str, Any], limits: Limits, on_done: Callable[..., None]
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._desk, self._options, self._limits, self._on_done = desk, options, limits, on_done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        lines = read_lines(receive, self._limits)
        async with aclosing(in_order(lines, self._answer, self._desk.n_at_once)) as answers:
            async for answer in answers:
                message = {"type": "http.response.body", "body": answer + b"\n", "more_body": True}
                try:
                    await asyncio.wait_for(send(message), self._limits.time_s)
                except asyncio.TimeoutError:
                    raise ClientLeftError from None
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, line: Line) -> bytes:
        try:
            text = text_of(line, self._limits)
        except ValueError as error:
            return as_json({"line": line.number, "error": str(error)})
        document = document_of(text, line.number)
        try:
            work = self._desk.annotate(document, self._options)
            done = await asyncio.wait_for(work, self._limits.time_s)
        except asyncio.TimeoutError:
            why_not = f"not done within {self._limits.time_s:g} s"
        except UserError:
            why_not = "the model cannot answer"
        else:
            self._on_done(done)
            return as_json(record_of(done))
        return as_json({"id": document.id, "line": line.number, "error": why_not})


def text_of(line: Line, limits: Limits) -> Any:
    """What a line holds. Raises ValueError, saying what is wrong."""
    if line.content is None:
        raise ValueError(f"the line has more than {limits.body_bytes} bytes")
    try:
        text = _TEXT.validate_python(json.loads(line.content))
    except ValidationError as error:
        raise ValueError(misfit(error.errors())) from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if n_characters(text) > limits.characters:
        raise ValueError(f"the text has more than {limits.characters} characters")
    return text


async def read_lines(receive: Receive, limits: Limits) -> AsyncGenerator[Line, None]:
    """The lines of a request that are not blank. Raises ClientLeftError."""
    held, number, too_long, more = bytearray(), 0, False, True
    while more:
        try:
            message = await asyncio.wait_for(receive(), limits.time_s)
        except asyncio.TimeoutError:
            raise ClientLeftError from None
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        more = message.get("more_body", False)
        *ended, rest = message.get("body", b"").split(b"\n")
        for piece in ended if more else [*ended, rest]:
            held += piece
            number += 1
            if too_long or len(held) > limits.body_bytes:
                yield Line(number, None)
            elif held.strip():
                yield Line(number, bytes(held))
            held, too_long = bytearray(), False
        if more:
            held += rest
            if len(held) > limits.body_bytes:
                held, too_long = bytearray(), True
