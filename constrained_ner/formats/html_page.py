"""Pages in HTML: written for eyes (see `rendering`), and refused as an input.

Pages, such as displaCy's, add blanks and line breaks around each name, and a browser shows many blanks as
one: taking the tags away does not give the text, and offsets would be those of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..data import Document
from ..errors import InputError
from ..rendering.view import View
from .protocol import Losses, Reading

_TITLE = "Names in a text"


def read_html(path: Path, reading: Reading) -> Iterator[Document]:
    """Raises InputError, always."""
    raise InputError(
        f"{path}: a page in HTML: its text and the places of its names cannot be told from its layout; "
        "bring the file that it was made from, or its text as .txt"
    )


def write_html(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """A page to look through. Held in memory as a whole: its legend counts what is in it. Nothing is lost."""
    yield from View.of_documents(_TITLE, documents).html()
