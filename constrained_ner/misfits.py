"""What is wrong with data from outside, in plain words: pydantic's own are for programmers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .errors import UserError

_WANTED = {
    "bool": "true or false",
    "dict": "an object",
    "finite_number": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "mapping": "an object",
    "model": "an object",
    "path": "a path",
    "string": "text",
    "tuple": "a list",
}
"""How pydantic's types of errors begin -> what was expected."""

_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def first_misfit(error: ValidationError, whole: str) -> str:
    """The first field that failed validation, and why. whole: what to call the outermost level.

    Examples: "types[0].name: missing"; "sysprompt: must be a list, got 'Mark the names.'"
    """
    first = error.errors()[0]
    place = "" if first["type"] == "json_invalid" else f"{_place(first['loc']) or whole}: "
    return f"{place}{why(first)}"


def is_wrong_shape(error: ValidationError) -> bool:
    """Whether a field is missing, unknown or of another type, rather than of a value that is not allowed."""
    return error.errors()[0]["type"] != "value_error"


def why(misfit: Mapping[str, Any]) -> str:
    """What is wrong with a value. misfit: one of pydantic's `errors()`."""
    kind, context = misfit["type"], misfit.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind == "json_invalid":
        return f"not JSON: {context['error']}"
    if kind == "extra_forbidden":
        return "unknown field"
    return f"{_rule(kind, context, misfit['msg'])}, got {misfit['input']!r:.80}"


def _rule(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short" or (kind == "string_too_short" and context["min_length"] == 1):
        return "must not be empty"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]:g}"
    wanted = next((words for start, words in _WANTED.items() if kind.startswith(start)), None)
    return f"must be {wanted}" if wanted else message.replace("Input should", "must")


def _place(location: tuple[int | str, ...]) -> str:
    """Example: ("types", 0, "name") -> "types[0].name" """
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def read_json(path: Path, content: str, error: Callable[[str], UserError]) -> Any:
    """The content of a user's JSON file as plain data. Raises `error` if it is not JSON."""
    try:
        return json.loads(content)
    except json.JSONDecodeError as problem:
        raise error(f"{path}: not JSON: {problem}") from None
    except (ValueError, RecursionError):  # a number or a nesting that Python gives up on
        raise error(f"{path}: not JSON that can be read: a number is too long, or lists too deep") from None
