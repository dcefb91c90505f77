"""What a field of `Settings` is besides its type and default: its help text and what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..backends.servers import PRODUCTS
from ..constraint.bias import parse_bias
from ..data import Sentence
from .operating_point import checked_method

Panel = Literal["Model", "Prompt", "Decoding", "Output"]


@dataclass(frozen=True)
class Option:
    """What a field of `Settings` is besides its type and default.

    panel: where it is listed in the help of a command.
    decides: a run with another value is another run, because its answers may differ. A path does not decide;
        what it leads to is hashed instead (see `Annotator.identity`).
    backend: back ends take it, under this name, when they load the model.
    per_request: a service may let each request choose it: it names no file, loads nothing, and leaves the
        prompt, which all requests share, as it is.
    typed: its type on the command line, if that is not the field's own. metavar: what its value is called
        there. off: the name that turns a switch off, if it is not --no-NAME.
    allowed: what its value may be in Python, if its type does not say that well.
    """

    help: str
    panel: Panel
    decides: bool = False
    backend: bool = False
    per_request: bool = False
    typed: Any = None
    metavar: str | None = None
    off: str | None = None
    allowed: str | None = None


def model_option(help: str, *, decides: bool = False) -> Option:
    return Option(help, "Model", decides=decides, backend=True)


def bias_by_type(value: Any) -> Any:
    return parse_bias(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def lexicon_numbers(value: Any) -> Any:
    """The numbers by what they raise, from settings of the form WHAT=NUMBER or as they are."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {name.strip(): number for name, _, number in (str(part).partition("=") for part in value)}
    if isinstance(value, Mapping) and not value.keys() <= {"open", "type", "close"}:
        raise ValueError("must be numbers for open, type or close")
    return value


def as_lexicon(value: Any) -> Any:
    """The name of a lexicon as it is, or its path."""
    return Path(value) if isinstance(value, str) and value not in ("public", "none") else value


def known_server(name: str | None) -> str | None:
    if name is not None and name not in PRODUCTS:
        raise ValueError(f"must be one of {', '.join(PRODUCTS)}")
    return name


def known_method(asked: str | None) -> str | None:
    return asked if asked is None else checked_method(asked)


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def as_examples(value: Any) -> Any:
    """Examples as they are, or their path. Sentences are checked where they are used."""
    if isinstance(value, (str, Path)):
        return Path(value)
    if value is None or callable(value):
        return value
    if isinstance(value, Sequence) and all(isinstance(example, Sentence) for example in value):
        return value
    raise ValueError("must be the path of an annotated file, sentences with mentions, or a Chooser")
