"""Lists of known names: one name a line with its type, `name|type`, plain or gzipped."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import InputError
from ..files import read_lines

PUBLIC_NAMES = Path(str(resources.files("constrained_ner") / "templates" / "names" / "public_names.txt.gz"))
"""The drug names that ship with the package (see the README beside them)."""


def read_names(path: str | Path) -> list[tuple[str, str]]:
    """The (name, type) pairs of a list. Blank lines are skipped; raises InputError for any other misfit.

    A name may contain `|`; the type may not.
    """
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(path), start=1):
        name, _, kind = line.rpartition("|")
        if name and kind:
            pairs.append((name, kind))
        elif line.strip():
            raise InputError(f"{path}: line {number}: {line!r:.120} is not of the form name|type")
    return pairs
