"""What is said of a user's file that cannot be read, or does not hold what it should."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from .errors import UserError


def read_text(path: Path, error: type[UserError]) -> str:
    """The text of a file in UTF-8. Raises `error`, naming the path, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not UTF-8 text: byte {problem.start}: {problem.reason}") from None
    except OSError as problem:
        raise error(f"{path}: cannot be read: {reason(problem)}") from None


def reason(error: Exception) -> str:
    """What an error says, but for the path that an OSError repeats."""
    return str(getattr(error, "strerror", None) or error)


def first_misfit(error: ValidationError, whole: str) -> str:
    """The first place where content does not fit its model, and why. whole: what the outermost is called.

    Example: "types.0.name: Field required"
    """
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or whole
    return f"{place}: {first['msg']}"
