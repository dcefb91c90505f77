"""A route whose function takes a request and its body: nothing is solved for it but the body.

The description of the API is FastAPI's. Its own way to a function was the largest part of what a request cost
in the thread that serves all of them.
"""

import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from .problems import ProblemError


class BodyRoute(APIRoute):
    """A route to a function `(request, body)`, whose annotation of the body is a model of pydantic."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer, model = self.endpoint, inspect.signature(self.endpoint).parameters["body"].annotation

        async def handle(request: Request) -> Response:
            response: Response = await answer(request, read_body(model, request, await request.body()))
            return response

        return handle


def read_body(model: type[BaseModel], request: Request, content: bytes) -> BaseModel:
    """The body of a request. Raises ProblemError for what is not JSON, RequestValidationError for what does
    not fit.

    Only what says that it is JSON is read: pages of other sites cannot send that without being asked.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise ProblemError(422, "the Content-Type must be application/json")
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        raise ProblemError(422, "not JSON") from None
    except (ValueError, RecursionError):  # not UTF-8, a number that is too long, lists too deep
        raise ProblemError(400, "not JSON that can be read") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
