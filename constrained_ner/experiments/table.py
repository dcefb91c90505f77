"""A table of texts, and the three ways to write it: for a terminal, Markdown, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..data import single_line

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~])")


@dataclass(frozen=True, slots=True)
class Table:
    """header: one text a column. rows: as many texts each. The first `n_names` columns are names, the
    others are figures, which stand to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_names: int = 1

    def text(self) -> str:
        """For a terminal: columns side by side, or a line each where that is narrower."""
        across = _aligned([self.header, *self.rows], self.n_names)
        down = _aligned(list(zip(self.header, *self.rows, strict=True)), 1)
        return min(across, down, key=_width)

    def markdown(self) -> str:
        """A table as GitHub reads it; no text can break out of its cell."""
        rule = ["---"] * self.n_names + ["---:"] * (len(self.header) - self.n_names)
        lines = [map(markdown_text, self.header), rule, *(map(markdown_text, row) for row in self.rows)]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def csv(self) -> str:
        """Comma-separated, quoted where needed, one line a row."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.rows])
        return buffer.getvalue()


def markdown_text(text: str) -> str:
    """The text as itself in Markdown, on one line: neither markup nor HTML nor the end of a table's cell."""
    return _MARKDOWN.sub(r"\\\1", escape(single_line(text), quote=False))


def _aligned(lines: Sequence[Sequence[str]], n_names: int) -> str:
    shown = [[single_line(text) for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "".join(
        "  ".join(
            text.ljust(width) if n < n_names else text.rjust(width)
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in shown
    )


def _width(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)
