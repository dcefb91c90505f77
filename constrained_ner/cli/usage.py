"""What is wrong with a command line, in one line: the option, its value, and what is allowed."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

_EXTRA = re.compile(r"^Got unexpected extra argument\S* \((.*)\)$")

UsageError: Any = typer.BadParameter.__base__
"""What typer raises for a wrong command line. Some versions bring their own copy of click, so no import
finds it in all of them."""


def complaint(error: Any, parameters: Iterable[inspect.Parameter]) -> str:
    """What is wrong. error: a UsageError. parameters: of the command, annotated for typer."""
    declared = {parameter.name: parameter.annotation for parameter in parameters}
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _unknown(error)
    if kind == "BadOptionUsage":
        if "not take" in error.format_message():
            return f"{error.option_name} takes no value"
        wanted = next(
            (_allowed(a) for name, a in declared.items() if _is_for(error.option_name, name, a)), ""
        )
        return f"{error.option_name}: the value is missing" + (f"; it is {wanted}" if wanted else "")
    name = _name(getattr(error, "param", None))
    if kind == "MissingParameter":
        return f"{name} is missing; see --help"
    wanted = _allowed(declared.get(error.param.name)) if kind == "BadParameter" and error.param else ""
    if not wanted:
        message = _EXTRA.sub(r"unexpected argument: \1", error.format_message().rstrip("."))
        return f"{message[:1].lower()}{message[1:]}"
    values = _values(error.param, sys.argv[1:])
    return f"{name}: {' '.join(values)!r:.80} is not {wanted}" if values else f"{name} must be {wanted}"


def _unknown(error: Any) -> str:
    known = [name for parameter in error.ctx.command.params for name in _spellings(parameter)]
    near = difflib.get_close_matches(error.option_name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else "see --help"
    return f"{error.option_name}: no such option; {advice}"


def _is_for(option: str, name: str, annotation: Any) -> bool:
    """Whether the parameter of this name is typed as `option`."""
    spelled = getattr(get_args(annotation)[1], "param_decls", None)
    return option in (spelled or (f"--{name.replace('_', '-')}",))


def _spellings(parameter: Any) -> Sequence[str]:
    return (*parameter.opts, *parameter.secondary_opts)


def _name(parameter: Any) -> str:
    """An option as it is typed; an argument as the help calls it."""
    if parameter is None:
        return ""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    return str(max(parameter.opts, key=len))


def _values(parameter: Any, typed: Sequence[str]) -> list[str]:
    """What was typed for an option, the last time; empty if that cannot be told."""
    for at in reversed(range(len(typed))):
        name, has_value, value = typed[at].partition("=")
        if name in parameter.opts:
            return [value] if has_value else list(typed[at + 1 : at + 1 + parameter.nargs])
    return []


def _allowed(annotation: Any) -> str:
    """Which values an option takes. Example: Annotated[int, typer.Option(min=1)] -> "a whole number ..." """
    if get_origin(annotation) is not Annotated:
        return ""
    kind, declared = get_args(annotation)[:2]
    kinds = [part for part in get_args(kind) if part is not NoneType] or [kind]
    if get_origin(kind) is Literal:
        kinds = [kind]
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return f"one of {', '.join(map(str, get_args(kinds[0])))}"
    if len(kinds) == 1 and inspect.isclass(kinds[0]) and issubclass(kinds[0], Enum):
        return f"one of {', '.join(str(member.value) for member in kinds[0])}"
    numbers = {int: "a whole number", float: "a number"}
    if len(kinds) == 1 and kinds[0] in numbers:
        return numbers[kinds[0]] + _bounds(getattr(declared, "min", None), getattr(declared, "max", None))
    if get_origin(kind) is tuple and all(part in numbers for part in kinds):
        return f"{len(kinds)} numbers"
    return ""


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f" of at least {least:g}"
    return "" if most is None else f" of at most {most:g}"
