"""Pages for people: one to play in, and the description of the API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse

from .desk import Desk

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def pages(app: FastAPI, desk: Desk) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False)
    templates = Environment(loader=PackageLoader("constrained_ner", "templates/service"), autoescape=True)

    def page(name: str, **values: Any) -> HTMLResponse:
        html = templates.get_template(name).render(**values)
        return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs")
    async def documentation() -> HTMLResponse:
        return page("docs.html", api=app.openapi())

    return router
