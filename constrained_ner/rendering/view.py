"""Annotated texts as one page to look through: names in colours, filters, a table of names, what went wrong.

The page is self-contained and works from a file: no network, and without scripts it is still a text with its
names. What it shows is plain data (`Section`, `Row`, `Mark`); where verdicts come from is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from ..data import Document
from ..schema import DDI
from .marks import SHADES, VERDICTS, Mark, label, marked_html, percent, type_numbers
from .pages import environment, security_policy, source, type_colours
from .visible import visible

_GOOD = (None, "right", "same")


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence. sides: its marks, for each output that is shown. differs: whether outputs do here."""

    id: str
    text: str
    sides: tuple[tuple[Mark, ...], ...]
    failure: str | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A document."""

    id: str
    rows: tuple[Row, ...]


class Name(NamedTuple):
    """A row of the table of names: the commonest spelling, and how often it is of each type.

    number: that of its marks. first: the number of its first mark.
    """

    number: int
    text: str
    types: list[tuple[str, int]]
    n: int
    first: int


class Error(NamedTuple):
    """An entry of the list of errors."""

    mark: Mark
    place: str
    side: int


@dataclass(frozen=True)
class View:
    """A page. columns: what the outputs are called; more than one stand side by side.

    n_gold: type -> mentions in gold, for precision and recall at each confidence; None without gold.
    notes: lines that stand above the text.
    """

    title: str
    sections: tuple[Section, ...]
    columns: tuple[str, ...] = ("",)
    notes: tuple[str, ...] = ()
    n_gold: Mapping[str, int] | None = None
    names: tuple[Name, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        title: str,
        sections: Iterable[Section],
        columns: Sequence[str] = ("",),
        *,
        notes: Sequence[str] = (),
        n_gold: Mapping[str, int] | None = None,
    ) -> View:
        """The page, with its marks numbered and its names counted."""
        names = _Names()
        numbered = tuple(
            replace(section, rows=tuple(names.numbered(row) for row in section.rows)) for section in sections
        )
        return cls(
            title,
            numbered,
            tuple(columns),
            tuple(notes),
            n_gold,
            tuple(sorted(names.table(), key=lambda name: -name.n)),
        )

    @classmethod
    def of_documents(cls, title: str, documents: Iterable[Document]) -> View:
        """A page of one output, compared with nothing. The documents are in sentences."""
        return cls.of(title, (Section(d.id, tuple(_rows(d))) for d in documents))

    def html(self) -> Iterator[str]:
        """The text of the page, in pieces."""
        styles = [
            "".join((source("base.css"), source("marks.css"), source("view.css"), type_colours(self.types)))
        ]
        scripts = [source("view.js")]
        template = environment().get_template("view.html")
        policy = security_policy(styles=styles, scripts=scripts)
        words = {"shown": visible, "label": label, "percent": percent}
        return template.generate(view=self, style=styles[0], script=scripts[0], policy=policy, **words)

    def rows(self) -> Iterator[Row]:
        return (row for section in self.sections for row in section.rows)

    def marks(self) -> Iterator[Mark]:
        return (mark for row in self.rows() for side in row.sides for mark in side)

    @cached_property
    def types(self) -> dict[str, int]:
        """Type -> number of its colour. The types of the course keep theirs in every page."""
        return type_numbers((mark.mention.type for mark in self.marks()), DDI.type_names)

    @property
    def type_choices(self) -> list[tuple[int, str, str, int]]:
        counts = Counter(mark.mention.type for mark in self.marks())
        return [
            (number, f"t{number} s5", visible(name), counts[name])
            for name, number in self.types.items()
            if counts[name]
        ]

    @property
    def verdict_choices(self) -> list[tuple[str, str, str, int]]:
        counts = Counter(mark.verdict for mark in self.marks())
        return [
            (name, f"t0 s1 v-{name.replace('+', '-')}", f"{sign} {meaning}", counts[name])
            for name, (sign, meaning) in VERDICTS.items()
            if counts[name]
        ]

    @property
    def errors(self) -> list[Error]:
        return [
            Error(mark, row.id, n)
            for row in self.rows()
            for n, side in enumerate(row.sides)
            for mark in side
            if mark.verdict not in _GOOD
        ]

    @property
    def has_confidences(self) -> bool:
        return any(mark.mention.confidence is not None for mark in self.marks())

    @property
    def shades(self) -> list[str]:
        return [name for _, name in SHADES]

    @property
    def counted(self) -> str:
        """Example: "12 sentences, 3 documents" """
        n = sum(len(section.rows) for section in self.sections)
        documents = len(self.sections)
        said = f"{n:,} sentence{'s' * (n != 1)}"
        return said if documents < 2 else f"{said} of {documents:,} documents"

    @property
    def gold_by_number(self) -> dict[int, int]:
        return {self.types[name]: n for name, n in (self.n_gold or {}).items() if name in self.types}

    def marked(self, row: Row, side: int) -> str:
        """The text of a row with the marks of an output, as HTML."""
        return marked_html(row.text, row.sides[side], self.types)


def _rows(document: Document) -> Iterator[Row]:
    """A row for each sentence, with the blanks up to the next one: nothing of a text is left out."""
    starts = [sentence.start for sentence in document][1:]
    borders = [0, *starts, len(document.text or "")]
    for n, sentence in enumerate(document):
        text, marks = sentence.text, [Mark(mention) for mention in sentence.mentions]
        if document.text is not None:
            text = document.text[borders[n] : borders[n + 1]]
            before = sentence.start - borders[n]
            marks = [Mark(mention.moved(before)) for mention in sentence.mentions]
        yield Row(sentence.id, text, (tuple(marks),), sentence.failure)


class _Names:
    """Numbers marks and gathers their names: those that differ only in case or blanks are one."""

    def __init__(self) -> None:
        self._n_marks = 0
        self._numbers: dict[str, int] = {}  # key of a name -> its row
        self._spellings: list[Counter[str]] = []
        self._types: list[Counter[str]] = []
        self._first: list[int] = []

    def numbered(self, row: Row) -> Row:
        return replace(row, sides=tuple(tuple(map(self._numbered, side)) for side in row.sides))

    def _numbered(self, mark: Mark) -> Mark:
        number, self._n_marks = self._n_marks, self._n_marks + 1
        written = " ".join(mark.mention.text.split())
        name = self._numbers.setdefault(written.casefold(), len(self._numbers))
        if name == len(self._first):
            self._spellings.append(Counter())
            self._types.append(Counter())
            self._first.append(number)
        self._spellings[name][written] += 1
        self._types[name][mark.mention.type] += 1
        return replace(mark, number=number, name=name)

    def table(self) -> Iterator[Name]:
        found = zip(self._spellings, self._types, self._first, strict=True)
        for number, (spellings, types, first) in enumerate(found):
            yield Name(number, spellings.most_common(1)[0][0], types.most_common(), types.total(), first)
