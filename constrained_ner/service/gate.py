"""What every request passes, before and after its route: one place for all that guards the service.

host -> key -> place in the queue -> body within bounds -> route within its time -> log and metrics
"""

from __future__ import annotations

import asyncio
import hmac
import math
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .limits import Limits
from .problems import ProblemError, busy, problem
from .watch import Log, Metrics, Timer

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STREAM = "/v1/annotate/stream"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_CLIENT_LEFT = 499  # nginx's number for it; nobody receives it


@dataclass
class Visit:
    """One request on its way through the gate.

    is_answered: whether all of its answer was sent. stopped: why its route was stopped before.
    seen: what its route adds to the log.
    """

    id: str
    timer: Timer = field(default_factory=Timer)
    status: int = 0
    is_answered: bool = False
    stopped: Exception | None = None
    seen: dict[str, Any] = field(default_factory=dict)


@dataclass
class Gate:
    """An ASGI application around another.

    key: what clients must present; None for no key. hosts: names by which the service may be called besides
    those of the loopback interface; None for any.
    """

    app: App
    limits: Limits
    log: Log
    metrics: Metrics
    key: str | None = None
    hosts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._n_in_house = 0
        self._mean_s = 1.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = scope["visit"] = Visit(uuid.uuid4().hex)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                own = (*_HEADERS, (b"x-request-id", visit.id.encode()))
                message["headers"] = [*message.get("headers", ()), *own]
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                visit.is_answered = True
            await send(message)

        try:
            await self._answer(scope, receive, sending, visit)
        except Exception as error:
            await self._excuse(error, scope, receive, sending, visit)
        finally:
            self._note(scope, visit)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        self._check_host(scope)
        self._check_key(scope)
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        with self._place(visit):
            if scope["path"] == STREAM:
                await self.app(scope, receive, send)
            else:
                await self._within_bounds(scope, receive, send, visit)

    async def _within_bounds(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        """Read the body and run the route, until it has answered, its client has left, or time is up.

        Without tasks of its own for body and route: most of what a request costs here is switching.
        """
        route = asyncio.current_task()
        assert route is not None

        def stop(why: Exception) -> None:
            if visit.stopped is None and not visit.is_answered:
                visit.stopped = why
                route.cancel()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            stop(ClientLeftError())

        late = ProblemError(504, f"not done within {self.limits.time_s:g} s")
        clock = asyncio.get_running_loop().call_later(self.limits.time_s, stop, late)
        leaving: asyncio.Task[None] | None = None
        try:
            unread = [{"type": "http.request", "body": await self._body(scope, receive), "more_body": False}]
            leaving = asyncio.ensure_future(watch())

            async def receiving() -> Message:
                return unread.pop() if unread else await receive()

            await self.app(scope, receiving, send)
        except asyncio.CancelledError:
            if visit.stopped is None:
                raise
            raise visit.stopped from None
        finally:
            clock.cancel()
            if leaving is not None:
                leaving.cancel()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self.limits.body_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > most:
            raise ProblemError(413, f"the body has more than {most} bytes")
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > most:
                raise ProblemError(413, f"the body has more than {most} bytes")
        return bytes(body)

    def _check_host(self, scope: Scope) -> None:
        """A page of another site must not reach a private service by a name that leads to it."""
        if self.hosts is None:
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in (*_LOOPBACK, *self.hosts):
            raise ProblemError(421, "this service is not called by that name")

    def _check_key(self, scope: Scope) -> None:
        guarded = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        if self.key is None or not guarded or scope["method"] == "OPTIONS":
            return
        headers = dict(scope["headers"])
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not hmac.compare_digest(given, self.key.encode()):
            raise ProblemError(401, "a valid API key is needed", {"WWW-Authenticate": "Bearer"})

    @contextmanager
    def _place(self, visit: Visit) -> Iterator[None]:
        if self._n_in_house >= self.limits.queue:
            raise busy(self._mean_s)
        self._n_in_house += 1
        self.metrics.in_house.set(self._n_in_house)
        try:
            yield
        finally:
            self._n_in_house -= 1
            self.metrics.in_house.set(self._n_in_house)
            self._mean_s += (visit.timer.seconds - self._mean_s) / 16

    async def _excuse(
        self, error: Exception, scope: Scope, receive: Receive, send: Send, visit: Visit
    ) -> None:
        """Answer for a route that raised; if it had begun to answer, its connection is cut."""
        if isinstance(error, ClientLeftError):
            visit.status = visit.status or _CLIENT_LEFT
            self.metrics.vanished.inc()
            return
        if isinstance(error, ProblemError):
            answer = problem(error.status, error.detail, error.headers)
        else:
            self.log.error(error, request=visit.id)
            answer = problem(500)
        if not visit.status:
            await answer(scope, receive, send)

    def _note(self, scope: Scope, visit: Visit) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(visit.status)).inc()
        self.metrics.seconds.labels(route).observe(visit.timer.seconds)
        duration_ms = math.ceil(visit.timer.seconds * 1e4) / 10
        self.log.event(
            "request",
            request=visit.id,
            method=scope["method"],
            route=route,
            status=visit.status,
            duration_ms=duration_ms,
            **visit.seen,
        )


class ClientLeftError(Exception):
    """The client hung up before it had sent everything."""
