"""Which case a text is shown in."""

from __future__ import annotations

from collections.abc import Iterator


def cased(text: str) -> Iterator[tuple[int, int, str]]:
    """The words whose case is changed."""
    yield from ()
