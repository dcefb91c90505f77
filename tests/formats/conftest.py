from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from constrained_ner.data import Document
from constrained_ner.formats import FORMATS
from constrained_ner.formats.protocol import Reading

Read = Callable[[str, Path], tuple[list[Document], list[str]]]


@pytest.fixture
def read() -> Read:
    """Reads a file as a format: the documents, and what was told."""

    def read(name: str, path: Path) -> tuple[list[Document], list[str]]:
        told: list[str] = []
        reader = FORMATS[name].read
        assert reader is not None
        return list(reader(path, Reading(notify=told.append, report_damaged=told.append))), told

    return read
