"""Cutting running text into sentences, in linear time and with exact offsets.

The library was chosen by measurement: see docs/sentences.md. It says where sentences start, and alters
nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

from sentencex import get_sentence_boundaries

from ..data import Document, Mention, Sentence, Span
from ..formats.name_lines import PUBLIC_NAMES, read_names

_BREAK = r"(?:\r\n|\r(?!\n)|[\n\x85\u2028])"
_BLANK_LINES = re.compile(rf"{_BREAK}[^\S\r\n]*{_BREAK}\s*|\u2029\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRETCH = 4_000  # characters that the library sees at once: its time is quadratic in some texts ("?)?)?)")

# Ends that the library takes for abbreviations: of 17 such places in DDI train, 17 end a sentence.
_UNSEEN_END = re.compile(r"(?:\b[Vv]itamin [A-K]\.|\d [hdl]\.|[A-Za-z]{5}\.\))\s+(?=[A-Z])")
# Semicolons outside brackets: of 246 in DDI train, 243 end a sentence; names are found better in short ones.
_SEMICOLON = re.compile(r"\([^()]*\)|\[[^][]*\]|(?P<end>;\s+)")


def sentence_spans(text: str, uncut: Iterable[Span] = ()) -> list[Span]:
    """The sentences of a text, in order and disjoint; they cover all but blanks, and begin and end with none.

    uncut: spans, such as known names, inside which no sentence ends. Blank lines always end a sentence.
    Example: "Take i.v. aspirin. Rest." -> [Span(0, 18), Span(19, 24)]
    """
    forbidden = _Inside(uncut)
    spans = []
    for paragraph in _paragraphs(text):
        start = paragraph.start
        for end in [*_starts(text, paragraph), paragraph.end]:
            if end == paragraph.end or end not in forbidden:
                spans += _trimmed(text, start, end)
                start = end
    return spans


def in_sentences(
    id: str, text: str, mentions: Iterable[Mention] = (), uncut: Iterable[Span] = ()
) -> tuple[tuple[Sentence, ...], tuple[Mention, ...]]:
    """The sentences of a document's text with their mentions, and the mentions that lie in no one sentence.

    Sentences have the ids `{id}.s0`, `{id}.s1`, ...; offsets of their mentions count from their `start`. The
    offsets of what is left over count from the start of the text.

    Args:
        id: of the document.
        text: of the document.
        mentions: with offsets in the text.
        uncut: names inside which no sentence may end.
    """
    spans = sentence_spans(text, uncut)
    starts = [span.start for span in spans]
    inside: list[list[Mention]] = [[] for _ in spans]
    left_over = []
    for mention in mentions:
        n = bisect_right(starts, min(s.start for s in mention.spans)) - 1
        if n >= 0 and max(s.end for s in mention.spans) <= spans[n].end:
            inside[n].append(mention.moved(-starts[n]))
        else:
            left_over.append(mention)
    sentences = (
        Sentence(f"{id}.s{n}", text[span.start : span.end], start=span.start).with_mentions(inside[n])
        for n, span in enumerate(spans)
    )
    return tuple(sentences), tuple(left_over)


def cut_document(
    document: Document,
    uncut: Callable[[str], Iterable[Span]] | None = None,
    *,
    n_before: int = 0,
    keep_mentions: bool = False,
) -> Document:
    """The document with its passages cut into sentences; itself if it is in sentences.

    uncut: gives the spans of a text inside which no sentence ends. n_before: sentences in earlier parts of
    the same text, for their ids. keep_mentions: cut inside none of them. Otherwise they are left out, so that
    what the model sees does not depend on what is known of a text.
    """
    if document.in_sentences:
        return document
    sentences: list[Sentence] = []
    for passage in document:
        spans = list(uncut(passage.text)) if uncut else []
        mentions = passage.mentions if keep_mentions else ()
        spans += (Span(m.start, max(s.end for s in m.spans)) for m in mentions)
        for sentence in in_sentences(document.id, passage.text, mentions, spans)[0]:
            name = f"{document.id}.s{n_before + len(sentences)}"
            sentences.append(replace(sentence, id=name, start=passage.start + sentence.start))
    return replace(document, sentences=tuple(sentences), in_sentences=True)


def cut_documents(
    documents: Iterable[Document],
    uncut: Callable[[str], Iterable[Span]] | None = None,
    *,
    keep_mentions: bool = False,
) -> Iterator[Document]:
    """Each document as `cut_document` cuts it; the sentences of the parts of a long text are counted on."""
    n_before = 0
    for document in documents:
        if not document.continues:
            n_before = 0
        cut = cut_document(document, uncut, n_before=n_before, keep_mentions=keep_mentions)
        n_before += len(cut.sentences)
        yield cut


def names_with_stops(names: Iterable[str]) -> Callable[[str], Iterator[Span]]:
    """A function that finds those of the names in a text that look as if a sentence ended in them.

    Example: names "Dr. Smith's Rash", "aspirin"; text "Dr. Smith's Rash helps." -> Span(0, 16)
    """
    tricky = sorted({name for name in names if re.search(r"[.?!:;]\s", name)}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, tricky)) or r"(?!)", re.IGNORECASE)
    return lambda text: (Span(*found.span()) for found in pattern.finditer(text))


@cache
def known_names() -> Callable[[str], Iterator[Span]]:
    """Finds the public drug names that look as if a sentence ended in them."""
    return names_with_stops(name for name, _ in read_names(PUBLIC_NAMES))


class _Inside:
    """The places strictly inside some of these spans."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # the furthest end of any span that starts no later
        for span in sorted(spans):
            self._starts.append(span.start)
            self._ends.append(max(span.end, self._ends[-1] if self._ends else 0))

    def __contains__(self, place: int) -> bool:
        n = bisect_right(self._starts, place - 1)
        return n > 0 and place < self._ends[n - 1]


def _paragraphs(text: str) -> Iterator[Span]:
    start = 0
    for blank in _BLANK_LINES.finditer(text):
        if start < blank.start():
            yield Span(start, blank.start())
        start = blank.end()
    if start < len(text):
        yield Span(start, len(text))


def _starts(text: str, paragraph: Span) -> Iterator[int]:
    """Where the second and later sentences of a paragraph start, in order."""
    at = paragraph.start
    while at < paragraph.end:
        end = _end_of_stretch(text, at, paragraph.end)
        stretch = _SURROGATE.sub("\ufffd", text[at:end])
        found = {boundary["start_index"] for boundary in get_sentence_boundaries("en", stretch)}
        found |= {unseen.end() for unseen in _UNSEEN_END.finditer(stretch)}
        found |= {match.end() for match in _SEMICOLON.finditer(stretch) if match["end"]}
        starts = sorted(at + n for n in found - {0, len(stretch)})
        yield from starts
        # The last sentence may go on after the stretch, and is seen again, whole.
        at = starts[-1] if starts and end < paragraph.end and starts[-1] - at > _STRETCH // 2 else end


def _end_of_stretch(text: str, start: int, end: int) -> int:
    if end - start <= _STRETCH:
        return end
    last_blank = max(text.rfind(blank, start + _STRETCH // 2, start + _STRETCH) for blank in " \n")
    return last_blank if last_blank > 0 else start + _STRETCH


def _trimmed(text: str, start: int, end: int) -> list[Span]:
    """The span without the blanks at its ends; none if there is nothing else."""
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip())
    last = start + len(piece.rstrip())
    return [Span(first, last)] if first < last else []
