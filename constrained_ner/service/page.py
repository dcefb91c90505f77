"""Pages for people: one to play in, and the description of the API. Made from the templates of the view."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse

from ..data import Document
from ..rendering.marks import SHADES, marked_html, type_numbers
from ..rendering.pages import environment, security_policy, source, type_colours
from ..rendering.view import View
from ..rendering.visible import visible
from ..schema import DDI
from .desk import Desk

_ALSO = "; connect-src 'self'; frame-ancestors 'none'"
_EXAMPLE = (
    "Ketoconazole raises midazolam levels. HIV protease inhibitors may do the same, and so may grapefruit "
    "juice. Patients who take Coumadin should not take aspirin."
)


def pages(app: FastAPI, desk: Desk) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False)
    types = type_numbers(desk.engine.about.judge.schema.type_names, DDI.type_names)
    styles = "".join((*map(source, ("base.css", "marks.css", "view.css", "play.css")), type_colours(types)))

    def page(name: str, script: str, **values: Any) -> HTMLResponse:
        template = environment().get_template(name)
        policy = security_policy(styles=[styles], scripts=[script] if script else []) + _ALSO
        html = template.render(style=styles, script=script, **values)
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @router.get("/")
    async def play() -> HTMLResponse:
        script = source("view.js") + source("play.js")
        choices = [(number, f"t{number} s5", visible(name), 0) for name, number in types.items()]
        return page(
            "play.html",
            script,
            types=choices,
            shades=[name for _, name in SHADES],
            knows_confidence=desk.engine.knows_confidence,
            example=_EXAMPLE,
        )

    @router.get("/docs")
    async def documentation() -> HTMLResponse:
        return page("docs.html", "", api=app.openapi())

    return router


def rows_of(document: Document, known: tuple[str, ...]) -> str:
    """The sentences of a document as rows of a view, each with a button for its X-ray."""
    view = View.of_documents("", [document])
    types = type_numbers(known, DDI.type_names)
    rows = [
        (row.text, marked_html(row.text, row.sides[0], types), row.failure and visible(row.failure))
        for row in view.rows()
    ]
    return environment().get_template("play_rows.html").render(rows=rows)


def page_of(document: Document) -> str:
    """A document as a page that works from a file."""
    return "".join(View.of_documents("Names in a text", [document]).html())
