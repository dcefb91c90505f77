"""Outputs of runs as a page to look through: one, one against gold, or two side by side.

    view = view_of_outputs([Path("devel.out")], gold=Path("devel.xml"))

An output names places in texts; the texts come from the gold, from the output itself where its format has
them, or from the file that its run annotated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data import Document, Mention, Sentence, Span
from ..errors import InputError
from ..evaluation.error_kinds import kind_of
from ..evaluation.matching import match
from ..evaluation.official import mention_key
from ..files import shown_path
from ..formats import FORMATS
from ..formats.documents import format_of, read_documents, read_found
from ..formats.mentions import mentions_path, read_mentions
from ..formats.protocol import Reading
from ..rendering.marks import Mark
from ..rendering.view import Row, Section, View
from ..runs.coverage import n_covered, record_beside
from ..text.sentences import cut_document

Notify = Callable[[str], None]
Located = tuple[str, Mention]
_LINES = ("", ".out", ".txt", ".lines")


@dataclass(frozen=True, slots=True)
class _Output:
    """An output: text id -> its mentions, whose offsets count in that text."""

    path: Path
    found: Mapping[str, Sequence[Mention]]

    @classmethod
    def read(cls, path: Path, notify: Notify) -> _Output:
        """Its mentions with what the run knows of them. Raises InputError."""
        mentions = read_found(path, reading=Reading(notify=notify))
        beside = mentions_path(path)
        if beside.exists():
            known = read_mentions(beside)
            if {mention_key(*m) for m in known} == {mention_key(*m) for m in mentions}:
                mentions = known
            else:
                notify(
                    f"{beside}: belongs to another output, so there are no confidences; run llm-NERC again"
                )
        found: defaultdict[str, list[Mention]] = defaultdict(list)
        for text_id, mention in mentions:
            found[text_id].append(mention)
        return cls(path, found)

    def located(self) -> list[Located]:
        return [(text_id, mention) for text_id, mentions in self.found.items() for mention in mentions]


def view_of_outputs(
    outputs: Sequence[Path],
    gold: Path | None = None,
    texts: Path | None = None,
    *,
    types: Mapping[str, str] | None = None,
    limit: int | None = None,
    notify: Notify,
) -> View:
    """The page of one output or two. gold: what they are compared with; None for one another.

    texts: the file that was annotated, if it is not where the run's record says. types: what gold calls a
    type -> what we call it. limit: show only the first texts. Raises UserError.
    """
    read = [_Output.read(path, notify) for path in outputs]
    documents = list(_documents(outputs, gold or texts, types, notify))
    n_texts = _n_covered(read, documents, notify)
    documents = _first(documents, min(n_texts, limit or n_texts))
    known = {text.id for document in documents for text in document.texts()}
    if gold and not any(text.mentions for document in documents for text in document.texts()):
        raise InputError(f"{gold}: nothing is annotated in it, so there is nothing to compare with")
    for output in read:
        n_strange = sum(len(m) for text_id, m in output.found.items() if text_id not in known)
        if n_strange and n_texts == len(known):
            notify(f"{output.path}: {n_strange} mentions name texts that are not shown")
    sections = list(_sections(documents, read, gold is not None))
    if not any(section.rows for section in sections):
        raise InputError(f"{outputs[0]}: nothing to show: there is no sentence")
    columns = _columns(outputs) if len(outputs) > 1 else ("",)
    return View.of(
        " and ".join(_columns(outputs)),
        sections,
        columns,
        notes=_notes(outputs, gold),
        n_gold=_n_gold(documents, len(outputs)) if gold else None,
    )


# ---- where the texts come from


def _documents(
    outputs: Sequence[Path], texts: Path | None, types: Mapping[str, str] | None, notify: Notify
) -> Iterator[Document]:
    reading = Reading(notify=notify)
    if texts is not None:
        return read_documents(texts, reading=reading, types=types)
    for output in outputs:
        if _has_texts(output):
            return read_documents(output, reading=reading)
    for output in outputs:
        record = record_beside(output)
        for name in (record.input, output.parent / Path(record.input).name) if record else ():
            if (path := shown_path(str(name))).exists():
                return read_documents(path, reading=reading, on_damaged=lambda path, why: None)
    raise InputError(
        f"{outputs[0]}: has no texts, and there is no record that says which file was annotated; "
        "name that file with --text"
    )


def _has_texts(output: Path) -> bool:
    if output.suffix in _LINES and output.is_file():
        return False
    chosen = FORMATS[format_of(output)]
    return chosen.read is not None and chosen.read_mentions is None


def _n_covered(outputs: Iterable[_Output], documents: Sequence[Document], notify: Notify) -> int:
    """How many of the texts, from the first, every output has annotated."""
    texts = [text for document in documents for text in document.texts()]
    return min(
        n_covered(output.path, [text_id for text_id, _ in output.located()], texts, notify)
        for output in outputs
    )


def _first(documents: Iterable[Document], n_texts: int) -> list[Document]:
    """The documents as far as their first n texts."""
    found = []
    for document in documents:
        if n_texts <= 0:
            break
        if document.text is None:
            document = replace(document, sentences=document.sentences[:n_texts])
            n_texts -= len(document.sentences)
        else:
            n_texts -= 1
        found.append(document)
    return found


# ---- what is shown of them


def _sections(documents: Iterable[Document], outputs: Sequence[_Output], has_gold: bool) -> Iterator[Section]:
    for document in documents:
        gold = [list(_in_text(text, text.mentions)) for text in document.texts()]
        sides = [
            [list(_in_text(text, output.found.get(text.id, ()))) for text in document.texts()]
            for output in outputs
        ]
        rows = []
        for n, text in enumerate(document.texts()):
            found = [side[n] for side in sides]
            differs = len(found) > 1 and _differ(*found)
            marks = _against(gold[n], found) if has_gold else _between(found)
            if document.text is None:
                rows.append(Row(text.id, text.text, tuple(map(tuple, marks)), text.failure, differs))
            else:
                rows += _cut(document, marks, len(found) > 1)
        yield Section(document.id, tuple(rows))


def _in_text(text: Sentence, mentions: Iterable[Mention]) -> Iterator[Mention]:
    """The mentions with offsets in this text, which may be a later part of a document."""
    for mention in mentions:
        if text.start <= mention.start < text.start + max(1, len(text.text)):
            yield mention.moved(-text.start) if text.start else mention


def _against(gold: list[Mention], sides: Sequence[list[Mention]]) -> list[list[Mark]]:
    """Each output against gold; what it missed is shown, too."""
    shown = []
    for found in sides:
        marks = []
        for pair in match((("", m) for m in gold), (("", m) for m in found)):
            if pair.predicted is not None:
                marks.append(Mark(pair.predicted, kind_of(pair), pair.gold, "gold"))
            elif pair.gold is not None:
                marks.append(Mark(pair.gold, "missed"))
        shown.append(marks)
    return shown


def _between(sides: Sequence[list[Mention]]) -> list[list[Mark]]:
    """Two outputs against one another; one has nothing to be compared with."""
    if len(sides) == 1:
        return [list(map(Mark, sides[0]))]
    marks: list[list[Mark]] = [[], []]
    for pair in match(*((("", m) for m in side) for side in sides)):
        kind = {"right": "same", "missed": "only", "spurious": "only"}.get(kind_of(pair), kind_of(pair))
        if pair.gold is not None:
            marks[0].append(Mark(pair.gold, kind, pair.predicted))
        if pair.predicted is not None:
            marks[1].append(Mark(pair.predicted, kind, pair.gold))
    return marks


def _differ(one: Iterable[Mention], other: Iterable[Mention]) -> bool:
    first, second = ({mention_key("", mention) for mention in side} for side in (one, other))
    return first != second


def _cut(document: Document, sides: Sequence[Sequence[Mark]], compares: bool) -> Iterator[Row]:
    """The rows of a running text: its sentences, cut inside no name. Nothing of the text is left out."""
    text = document.text or ""
    spans = [Span(m.mention.start, m.mention.end) for side in sides for m in side]
    cut = document
    if not document.in_sentences:
        cut = cut_document(document, lambda passage: _in_passage(document, passage, spans))
    inside = {n for span in spans for n in range(span.start + 1, span.end)}
    starts = [s.start for s in cut.sentences if s.start not in inside]
    starts = [0, *starts[1:]] if starts else [0]
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
        here = [
            tuple(
                replace(mark, mention=mark.mention.moved(-start))
                for mark in side
                if bisect_right(starts, mark.mention.start) - 1 == n
            )
            for side in sides
        ]
        differs = compares and _differ(*([mark.mention for mark in side] for side in here))
        yield Row(f"{document.id}.s{n}", text[start:end], tuple(here), None, differs)


def _in_passage(document: Document, passage: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The spans that lie in a passage, with offsets in it."""
    for sentence in document.sentences:
        if sentence.text == passage:
            for span in spans:
                if sentence.start <= span.start and span.end <= sentence.start + len(passage):
                    yield Span(span.start - sentence.start, span.end - sentence.start)


# ---- what stands above them


def _columns(outputs: Sequence[Path]) -> tuple[str, ...]:
    names = [path.name for path in outputs]
    return tuple(names) if len(set(names)) == len(names) else tuple(map(str, outputs))


def _notes(outputs: Sequence[Path], gold: Path | None) -> list[str]:
    """What the outputs are compared with, and which model wrote them."""
    notes = [f"Against {gold.name}."] if gold else []
    for path, name in zip(outputs, _columns(outputs), strict=True):
        if record := record_beside(path):
            model = record.options.get("model")
            called = model.get("name") if isinstance(model, dict) else model
            decoder = record.options.get("decoder")
            notes.append(f"{name}: {called}, {decoder}." if decoder else f"{name}: {called}.")
    return notes


def _n_gold(documents: Iterable[Document], n_outputs: int) -> Counter[str]:
    """Type -> mentions in gold, each counted for every output that is shown."""
    counts: Counter[str] = Counter()
    for document in documents:
        for text in document.texts():
            unique = {mention_key("", mention) for mention in text.mentions}
            counts.update(name for _, name in unique)
    return Counter({name: n * n_outputs for name, n in counts.items()})
