"""What can be asked for.

FastAPI reads the annotations of the routes, some of which are made here: so they are not strings.
"""

import asyncio
import json
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.responses import HTMLResponse, JSONResponse, Response

from .. import __version__
from ..data import Document
from ..errors import SentenceError
from ..misfits import first_misfit
from ..rendering.palette import colours_of
from .answers import as_json, record_of
from .bodies import (
    Answers,
    Problem,
    Text,
    chosen,
    document_of,
    n_characters,
    one_text_model,
    options_model,
    request_model,
)
from .body_route import BodyRoute
from .desk import Desk
from .gate import STREAM
from .limits import Limits
from .lines import LinesResponse
from .page import page_of, rows_of
from .problems import ProblemError
from .watch import Log, Metrics

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "The body is not JSON.",
        401: "The API key is missing or wrong.",
        413: "The body, a text, or the number of texts is too large.",
        422: "The body has another form.",
        503: "Too many requests are waiting, or the model cannot answer.",
        504: "It took too long.",
    }.items()
}
_LINES = {"application/x-ndjson": {"schema": {"type": "string"}}}


def api(desk: Desk, limits: Limits, log: Log, metrics: Metrics) -> APIRouter:
    """The routes under /v1, made for what the model can do."""
    about, router = desk.engine.about, APIRouter(prefix="/v1")
    schema = about.judge.schema
    options_type: Any = options_model(schema, desk.engine.knows_confidence)
    body_type: Any = request_model(options_type)
    one_type: Any = one_text_model(options_type)

    def count(document: Document) -> None:
        metrics.texts.inc()
        for sentence in document:
            metrics.characters.inc(len(sentence.text))
            metrics.failures.inc(sentence.failure is not None)
            for mention in sentence.mentions:
                metrics.mentions.labels(mention.type).inc()

    async def annotate(request: Request, body: body_type) -> Response:
        """Find the names in texts. A sentence that fails says why; the others are annotated all the same."""
        _check_sizes(body.texts, limits)
        visit = request.scope["visit"]
        visit.seen["texts"] = len(body.texts)
        visit.seen["characters"] = sum(map(n_characters, body.texts))
        if log.texts:
            visit.seen["bodies"] = body.model_dump(exclude_none=True)["texts"]
        documents = (document_of(text, number) for number, text in enumerate(body.texts))
        records = []
        async with aclosing(desk.annotate_all(documents, chosen(body.options))) as done:
            async for document in done:
                count(document)
                records.append(as_json(record_of(document)))
        return Response(b'{"results": [' + b", ".join(records) + b"]}", media_type="application/json")

    router.add_api_route(
        "/annotate",
        annotate,
        methods=["POST"],
        response_model=None,
        responses={200: {"model": Answers}, **_PROBLEMS},
        route_class_override=BodyRoute,
    )

    @router.post(
        STREAM.removeprefix("/v1"),
        response_model=None,
        responses={200: {"content": _LINES, "description": "A line for each line."}, **_PROBLEMS},
        openapi_extra={"requestBody": {"content": _LINES, "required": True}},
    )
    async def annotate_stream(
        request: Request,
        options: Annotated[str, Query(description="Options of the request, as JSON.")] = "{}",
    ) -> Response:
        """Find the names in each line, which is a JSON text, or an object as in `texts` of /v1/annotate.

        Answers come in order, while lines are still sent. A line that cannot be answered has an answer with
        its number and an `error`. Read while you write: the service reads on only if there is room.
        """
        try:
            asked = chosen(options_type.model_validate_json(options))
        except ValidationError as error:
            raise ProblemError(422, f"options: {first_misfit(error, 'options')}") from None
        seen = request.scope["visit"].seen
        seen["texts"] = 0

        def done(document: Document) -> None:
            seen["texts"] += 1
            count(document)

        return LinesResponse(desk, asked, limits, done)

    @router.post("/view", response_class=HTMLResponse, responses=_PROBLEMS)
    async def view(
        request: Request,
        body: one_type,
        whole: Annotated[bool, Query(description="The whole page, which works from a file.")] = False,
    ) -> Response:
        """The names in a text as HTML: the rows of a view, or the whole page."""
        _check_sizes([body.text], limits)
        document = await desk.annotate(Document.of_text("text", body.text), chosen(body.options))
        count(document)
        return HTMLResponse(page_of(document) if whole else rows_of(document, schema.type_names))

    @router.post("/xray", responses={200: {"description": "The sentence, looked through."}, **_PROBLEMS})
    async def xray(request: Request, body: one_type) -> Response:
        """A sentence decision by decision: what was legal, what the model wanted, and how sure it was.

        Beside it stands what the model writes without the constraint.
        """
        _check_sizes([body.text], limits)
        try:
            seen = await desk.xray(body.text, chosen(body.options))
        except SentenceError as error:
            raise ProblemError(422, str(error)) from None
        return Response(as_json(asdict(seen)), media_type="application/json")

    @router.get("/schema", responses=_some(401))
    async def entity_types() -> dict[str, Any]:
        """The entity types that are found, with the colours in which they are shown."""
        return {**schema.model_dump(), "hash": schema.hash(), "colours": colours_of(schema.type_names)}

    @router.get("/model", responses=_some(401))
    async def model() -> dict[str, Any]:
        """What the answers come from. The same identity means the same answers."""
        identity = json.loads(json.dumps(about.identity, default=str))
        identity["model"] = {k: v for k, v in identity["model"].items() if "/" not in str(v)}
        return {
            "version": __version__,
            "identity": identity,
            "limits": {"texts": limits.texts, "characters": limits.characters, "bytes": limits.body_bytes},
            "options": options_type.model_json_schema(),
        }

    return router


def health(desk: Desk, metrics: Metrics) -> APIRouter:
    """The routes for whoever runs the service."""
    router = APIRouter()

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz", responses=_some(503))
    async def ready() -> Response:
        """The model is loaded, and requests are taken."""
        is_ready = desk.engine.ready
        return JSONResponse({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    @router.get("/metrics", response_class=Response, responses=_some(401))
    async def measured() -> Response:
        """Counts and times, for Prometheus."""
        page = await asyncio.get_running_loop().run_in_executor(None, metrics.page)
        return Response(page, headers={"Content-Type": metrics.content_type})

    return router


def _check_sizes(texts: list[Text], limits: Limits) -> None:
    if len(texts) > limits.texts:
        raise ProblemError(413, f"{len(texts)} texts; at most {limits.texts} go into one request")
    for number, text in enumerate(texts):
        if n_characters(text) > limits.characters:
            raise ProblemError(413, f"texts[{number}] has more than {limits.characters} characters")


def _some(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _PROBLEMS[status] for status in statuses}
