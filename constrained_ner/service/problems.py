"""What a service answers when it does not answer: one form for all problems (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from .answers import as_json


class ProblemError(Exception):
    """A request that is not answered. detail: for its sender; nothing about others or this machine."""

    def __init__(self, status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response."""
    body = {"title": HTTPStatus(status).phrase, "status": status} | ({"detail": detail} if detail else {})
    return Response(as_json(body), status, dict(headers or {}), "application/problem+json")


def busy(retry_after_s: float) -> ProblemError:
    """The problem of a service that has enough to do."""
    wait_s = max(1, round(retry_after_s))
    return ProblemError(503, "too many requests are waiting", {"Retry-After": str(wait_s)})
