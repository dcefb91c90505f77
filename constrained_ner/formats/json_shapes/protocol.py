"""What a shape of JSON records is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from ...data import Document, Provenance
from ..raw_mentions import RawText
from ..units import UTF_16, Counting


class ShapeError(ValueError):
    """A record that cannot be read; the message says why, and not where."""


IN_CODE_POINTS = Counting()
IN_UTF_16 = Counting(UTF_16)
"""The rule of what is written by a program in a browser or in Java."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Records of one tool.

    name: what it is called in messages.
    fits: whether a value is plainly a record of it.
    read: the texts of a record; documents, if their offsets count tokens and nothing has to be found out.
        Raises ShapeError.
    rule: what its offsets count, unless the words of a file say otherwise.
    told: whether a message says that the file was read so.
    """

    name: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], Sequence[RawText | Document]]
    rule: Counting = IN_CODE_POINTS
    told: bool = True


def text_of(record: dict[str, Any], key: str = "text") -> str:
    """The text of a record. Raises ShapeError if it is missing, no string, or not Unicode."""
    text = record.get(key)
    if text is None:
        raise ShapeError(f"no {key!r} (its keys: {keys_of(record)})")
    return checked(text, key)


def checked(text: Any, key: str) -> str:
    """The value as a text. Raises ShapeError."""
    if not isinstance(text, str):
        raise ShapeError(f"{key!r} is not a text: {text!r:.60}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ShapeError(f"{key!r} has half a character (a lone surrogate) at {error.start}") from None
    return text


def id_of(record: dict[str, Any], *keys: str) -> str | None:
    """The first of the keys that has an id: a string or a number."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return checked(str(value), key)
    return None


def provenance_of(record: dict[str, Any]) -> Provenance | None:
    """The provenance of a mention that was written here; None for what others write."""
    value = record.get("provenance")
    return cast(Provenance, value) if value in get_args(Provenance) else None


def keys_of(record: dict[str, Any]) -> str:
    """The keys of a record, as a message shows them."""
    shown = ", ".join(f"{key!r:.40}" for key in list(record)[:12])
    return f"{shown}, ..." if len(record) > 12 else shown or "none"
