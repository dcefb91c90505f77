"""The application: routes behind the gate, and what begins and ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from .. import __version__
from ..errors import UserError
from .bodies import misfit
from .desk import Desk
from .engine import Engine
from .gate import App, Gate
from .limits import Limits
from .page import pages
from .problems import ProblemError, problem
from .routes import api, health
from .watch import Log, Metrics


def service(
    engine: Engine,
    limits: Limits | None = None,
    *,
    log: Log | None = None,
    key: str | None = None,
    hosts: tuple[str, ...] | None = (),
    origins: Sequence[str] = (),
) -> App:
    """The service as an ASGI application. It closes the engine when it ends.

    key: what clients must present. hosts: names by which it may be called besides localhost; None for any.
    origins: sites whose pages may call it (CORS).
    """
    limits, log, metrics = limits or Limits(), log or Log(), Metrics()
    desk = Desk(engine)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="constrained-ner",
        version=__version__,
        description="Finds and classifies names in texts. Offsets are half-open and count code points.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api(desk, limits, log, metrics))
    app.include_router(health(desk, metrics))
    app.include_router(pages(app, desk))

    async def model_failed(request: Request, error: Any) -> Response:
        log.event("model", message=str(error), request=request.scope["visit"].id)
        return problem(503, "the model cannot answer", {"Retry-After": "10"})

    app.add_exception_handler(UserError, model_failed)  # its message is for whoever runs the service
    app.add_exception_handler(ProblemError, _told)
    app.add_exception_handler(Exception, _unexpected)  # the gate logs it
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_exception_handler(HTTPException, _refused)
    guarded = Gate(app, limits, log, metrics, key, hosts)
    if not origins:
        return guarded
    headers = ["Authorization", "X-API-Key", "Content-Type"]
    return CORSMiddleware(
        guarded, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers
    )


async def _told(_: Request, error: Any) -> Response:
    return problem(error.status, error.detail, error.headers)


async def _unexpected(_: Request, error: Any) -> Response:
    return problem(500)


async def _misfit(_: Request, error: Any) -> Response:
    """A body of another form: the place and what is wrong there."""
    return problem(422, misfit(error.errors()))


async def _refused(_: Request, error: Any) -> Response:
    detail = "" if error.status_code == 404 else str(error.detail)
    return problem(error.status_code, detail, error.headers)
