"""Mentions held against their text: what is read, what is left out, and what is said of it.

The text wins: a mention whose words differ from it keeps its span, and one that is outside it is left out.
Both are counted, and told in one line for the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..data import Mention, Span, covered_text, single_line
from .protocol import UNTYPED
from .units import same_words


@dataclass(slots=True)
class Fitting:
    """Makes the mentions of a file, and counts those that do not fit."""

    path: Path
    n_mentions: int = 0
    n_untyped: int = 0
    _differing: list[str] = field(default_factory=list)
    _left_out: list[str] = field(default_factory=list)
    _skipped: list[str] = field(default_factory=list)
    _n: Counter[str] = field(default_factory=Counter)

    def mention(
        self,
        place: str,
        text: str,
        spans: tuple[Span, ...] | None,
        type: str | None,
        name: str | None,
        confidence: float | None = None,
    ) -> Mention | None:
        """The mention; None, and counted, if it is empty or outside its text.

        place: where it is in the file, such as "line 7". spans: in code points of the text, sorted; None if
        the offsets are no spans of it. name: the file's own words, which become the mention's.
        """
        if not spans or spans[-1].end > len(text):
            self.leave_out(f"{place}: {name or ''!r:.60} is empty or outside the text")
            return None
        self.n_mentions += 1
        type = (type or "").strip()
        self.n_untyped += not type
        there = covered_text(text, spans)
        if name and not same_words(there, name):
            self._count(self._differing, "differing", f"{place}: {name!r:.60}, the text has {there!r:.60}")
        return Mention(spans, type or UNTYPED, name or there, confidence)

    def leave_out(self, what: str) -> None:
        """Count a mention that cannot be read. what: place and reason."""
        self.n_mentions += 1
        self._count(self._left_out, "left out", what)

    def skip(self, what: str) -> None:
        """Count a line that is of no known kind. what: place and line."""
        self._count(self._skipped, "skipped", what)

    def _count(self, examples: list[str], kind: str, what: str) -> None:
        self._n[kind] += 1
        if len(examples) < 3:
            examples.append(single_line(what))

    def tell(self, notify: Callable[[str], None]) -> None:
        """One line for each thing that was found, when all mentions are read."""
        if n := self._n["differing"]:
            notify(
                f"{self.path}: {n} of {self.n_mentions} mentions have other words than the text at their "
                f"offsets; the offsets stand: {_list(self._differing, n)}"
            )
        if n := self._n["left out"]:
            notify(
                f"{self.path}: {n} of {self.n_mentions} mentions cannot be read and are left out: "
                f"{_list(self._left_out, n)}"
            )
        if n := self._n["skipped"]:
            notify(f"{self.path}: {n} lines are of no known kind and are skipped: {_list(self._skipped, n)}")
        if self.n_untyped:
            notify(f"{self.path}: {self.n_untyped} mentions have no type and are read as {UNTYPED!r}")


def _list(examples: list[str], n: int) -> str:
    return "; ".join(examples) + ("; ..." if n > len(examples) else "")
