"""Pages in HTML, such as displaCy's: refused, because their text cannot be recovered.

They add blanks and line breaks around each name, and a browser shows many blanks as one: taking the tags away
does not give the text, and offsets would be those of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..data import Document
from ..errors import InputError
from .protocol import Reading


def read_html(path: Path, reading: Reading) -> Iterator[Document]:
    """Raises InputError, always."""
    raise InputError(
        f"{path}: a page in HTML: its text and the places of its names cannot be told from its layout; "
        "bring the file that it was made from, or its text as .txt"
    )
