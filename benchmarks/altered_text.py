"""What F1 remains when text comes with other blanks, hyphens, marks or case than the model has learned from.

    python benchmarks/altered_text.py DEVEL.xml [--limit N] [--model MODEL]

Makes 15 alterations of the sentences, with the gold mentions moved along, and scores each with the view as-is
and plain. A row compares with the same sentences unaltered. The figures are micro F1 of whole documents.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, cycle
from pathlib import Path

from constrained_ner import Annotator, Document, Sentence, Span
from constrained_ner.data import covered_text
from constrained_ner.evaluation.official import evaluate
from constrained_ner.formats.ddi import read_ddi

Edit = tuple[int, int, str]
"""From where to where, and what is there instead. Where both are equal, it is put in, outside of mentions."""

_LINE = 60  # characters after which a line is broken at the next blank
_LIGATURES = {"ffi": "\ufb03", "ffl": "\ufb04", "ff": "\ufb00", "fi": "\ufb01", "fl": "\ufb02"}


def altered(sentence: Sentence, edits: Sequence[Edit]) -> Sentence:
    """The sentence with the changes made, and each mention on the same words. edits: disjoint."""
    parts: list[str] = []
    starts, ends = [0] * len(sentence.text), [0] * len(sentence.text)  # of each character, in the new text
    length = done = 0
    for start, end, new in [*sorted(edits), (len(sentence.text), len(sentence.text), "")]:
        for at in range(done, start):
            starts[at], ends[at] = length + at - done, length + at - done + 1
        length += start - done
        for at in range(start, end):
            starts[at], ends[at] = length, length + len(new)
        parts += (sentence.text[done:start], new)
        length, done = length + len(new), end
    text = "".join(parts)
    mentions = []
    for mention in sentence.mentions:
        spans = tuple(Span(starts[s.start], ends[s.end - 1]) for s in mention.spans)
        mentions.append(replace(mention, spans=spans, text=covered_text(text, spans)))
    return replace(sentence, text=text).with_mentions(mentions)


def _each(pattern: str, new: str | Callable[[str], str]) -> Callable[[Sentence], Iterator[Edit]]:
    """Replace whatever the pattern finds."""

    def edits(sentence: Sentence) -> Iterator[Edit]:
        for found in re.finditer(pattern, sentence.text):
            yield *found.span(), new if isinstance(new, str) else new(found[0])

    return edits


def _after_names(marks: str, types: Sequence[str] = ()) -> Callable[[Sentence], Iterator[Edit]]:
    """Put a mark after each name of these types, or of any; where there are several, they take turns."""

    def edits(sentence: Sentence) -> Iterator[Edit]:
        ends = {mention.end for mention in sentence.mentions if not types or mention.type in types}
        yield from ((end, end, mark) for end, mark in zip(sorted(ends), cycle(marks), strict=False))

    return edits


def _in_names(new: str) -> Callable[[Sentence], Iterator[Edit]]:
    """Put something into the middle of each word of a name that has six letters or more."""

    def edits(sentence: Sentence) -> Iterator[Edit]:
        places = {
            (word.start() + word.end()) // 2
            for mention in sentence.mentions
            for span in mention.spans
            for word in re.compile(r"[A-Za-z]{6,}").finditer(sentence.text, span.start, span.end)
        }
        yield from ((place, place, new) for place in sorted(places))

    return edits


def _line_breaks(sentence: Sentence) -> Iterator[Edit]:
    line = 0
    for found in re.finditer(" ", sentence.text):
        if found.start() - line >= _LINE:
            line = found.end()
            yield *found.span(), "\r\n"


def _case(change: Callable[[str], str]) -> Callable[[Sentence], Iterator[Edit]]:
    return _each(r"[A-Za-z]", change)


def _accented(sentence: Sentence) -> Sentence:
    """With accents outside of names: the corpus has none."""
    inside = {at for m in sentence.mentions for at in range(m.start, m.end)}
    places = (found.start() for found in re.finditer(r"(?<=\b[a-z])e", sentence.text))
    return altered(sentence, [(at, at + 1, "\u00e9") for at in places if at not in inside])


@dataclass(frozen=True)
class Alteration:
    """edits: the changes. before: done to the sentences that it is compared with, too."""

    name: str
    edits: Callable[[Sentence], Iterator[Edit]]
    before: Callable[[Sentence], Sentence] | None = None


ALTERATIONS = [
    Alteration("no-break spaces", _each(" ", "\u00a0")),
    Alteration("thin spaces", _each(" ", "\u2009")),
    Alteration("hyphens", _each("-", "\u2010")),
    Alteration("dashes", _each("-", "\u2013")),
    Alteration("soft hyphens in names", _in_names("\u00ad")),
    Alteration("trade marks", _after_names("\u2122", ("brand",))),
    Alteration("registered marks", _after_names("\u00ae", ("brand",))),
    Alteration("superscripts", _after_names("\u00b9\u00b2\u00b3")),
    Alteration("daggers", _after_names("\u2020\u2021")),
    Alteration("capitals", _case(str.upper)),
    Alteration("small letters", _case(str.lower)),
    Alteration(
        "NFD", _each("[^\\x00-\\x7f]", lambda letter: unicodedata.normalize("NFD", letter)), _accented
    ),
    Alteration("ligatures", _each("|".join(_LIGATURES), lambda letters: _LIGATURES[letters])),
    Alteration("CR LF", _line_breaks),
    Alteration("tabs", _each(" ", "\t")),
]


def f1(ner: Annotator, documents: Sequence[Document]) -> float:
    """Micro F1 in percent. Sentences that fail have no mentions."""
    found = ner.run((s for document in documents for s in document), doubtful=True)
    predicted = []
    for document in documents:
        sentences = [next(found).sentence for _ in document]
        predicted += [(s.id, m) for s in ner.agreed(sentences) for m in s.mentions]
    gold = [(s.id, m) for document in documents for s in document for m in s.mentions]
    return 100 * evaluate(gold, predicted).micro.f1


def changed(documents: Sequence[Document], change: Callable[[Sentence], Sentence]) -> list[Document]:
    return [replace(document, sentences=tuple(map(change, document))) for document in documents]


def _first(documents: Sequence[Document], limit: int | None) -> list[Document]:
    """Whole documents with about this many sentences."""
    chosen: list[Document] = []
    for document in documents:
        if limit is not None and sum(len(d.sentences) for d in chosen) >= limit:
            break
        chosen.append(document)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("xml", type=Path)
    parser.add_argument("--limit", type=int, help="stop after the document that reaches N sentences")
    parser.add_argument("--model")
    parser.add_argument("--only", action="append", choices=[a.name for a in ALTERATIONS])
    parser.add_argument("--views", default="as-is,plain", help="which of the two to score")
    options = parser.parse_args()
    views = options.views.split(",")
    chosen = [a for a in ALTERATIONS if not options.only or a.name in options.only]
    with ExitStack() as stack:
        annotators = [stack.enter_context(Annotator.load(options.model, view=v, threads=1)) for v in views]
        report(
            _first(read_ddi(options.xml), options.limit), dict(zip(views, annotators, strict=True)), chosen
        )


def report(
    documents: Sequence[Document], annotators: Mapping[str, Annotator], chosen: Iterable[Alteration]
) -> None:
    """Print a line for each alteration as soon as it is scored: F1 unaltered -> altered, for each view."""
    print(f"{sum(len(d.sentences) for d in documents)} sentences")
    print(f"{'':<24}{'altered':>8}" + "".join(f"{view:>16}{'change':>8}" for view in annotators))
    unaltered: dict[tuple[str, object], float] = {}
    for alteration in chosen:
        before = alteration.before
        first = changed(documents, before) if before else documents
        edited = changed(first, lambda s, edits=alteration.edits: altered(s, [*edits(s)]))
        pairs = zip(chain.from_iterable(first), chain.from_iterable(edited), strict=True)
        print(f"{alteration.name:<24}{sum(a.text != b.text for a, b in pairs):>8}", end="", flush=True)
        for view, ner in annotators.items():
            if (view, before) not in unaltered:
                unaltered[view, before] = f1(ner, first)
            usual, score = unaltered[view, before], f1(ner, edited)
            print(f"{usual:>8.1f} ->{score:>5.1f}{score - usual:>+8.1f}", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
