"""CoNLL as it is written here: token and tag (IOB2), the text of each sentence before its tokens.

    # newdoc id = leaflet
    # sent_id = leaflet.s0
    # start = 0
    # text = Aspirin helps.
    Aspirin<TAB>B-drug
    helps<TAB>O
    .<TAB>O

A token is a run of letters and digits, or one other character that is not blank; it is also cut where a
mention begins or ends, so that no character of one is lost. With the text, offsets can be found again.
"# start" is where a sentence begins in its document, if that has a text of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..data import Document, Mention, Sentence, single_line
from .flat_mentions import count_confidences, count_spellings, flat, trimmed
from .iob_tags import TaggedName, iob2
from .protocol import Losses

_TOKEN = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+|\S")


def write_conll(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """The text of a file."""
    previous = None
    for document in documents:
        if not document.sentences:
            losses.add("documents without sentences left out")
            continue
        if document.id != previous or not document.continues:
            yield f"# newdoc id = {_line(document.id, losses)}\n"
        previous = document.id
        for sentence in document:
            start = None if document.text is None else document.start + sentence.start
            yield "".join(f"{line}\n" for line in _lines(sentence, start, losses)) + "\n"
        if document.text is not None:
            losses.add("blanks between sentences written as spaces", _has_odd_gaps(document))


def _lines(sentence: Sentence, start: int | None, losses: Losses) -> Iterator[str]:
    yield f"# sent_id = {_line(sentence.id, losses)}"
    if start is not None:
        yield f"# start = {start}"
    yield f"# text = {_line(sentence.text, losses)}"
    count_confidences(sentence.mentions, losses)
    count_spellings(sentence.text, sentence.mentions, losses)
    mentions = trimmed(sentence.text, flat(sentence.mentions, losses), losses)
    tokens = list(_tokens(sentence.text, mentions))
    firsts = {first: n for n, (first, _) in enumerate(tokens)}
    ends = {end: n + 1 for n, (_, end) in enumerate(tokens)}
    names = [
        TaggedName(firsts[mention.start], ends[mention.end], re.sub(r"[\t\r\n]", " ", mention.type))
        for mention in mentions
    ]
    for (first, end), tag in zip(tokens, iob2(len(tokens), names), strict=True):
        yield f"{sentence.text[first:end]}\t{tag}"


def _tokens(text: str, mentions: Sequence[Mention]) -> Iterator[tuple[int, int]]:
    borders = sorted({border for mention in mentions for border in (mention.start, mention.end)})
    n = 0
    for match in _TOKEN.finditer(text):
        at, end = match.span()
        while n < len(borders) and borders[n] < end:
            if borders[n] > at:
                yield at, borders[n]
                at = borders[n]
            n += 1
        yield at, end


def _line(text: str, losses: Losses) -> str:
    """The text on one line. Offsets do not change."""
    line = single_line(text)
    losses.add("line breaks in sentences written as spaces", sum(map(str.__ne__, text, line)))
    return line


def _has_odd_gaps(document: Document) -> int:
    """How many gaps between sentences are not spaces."""
    text, at, n = document.text or "", 0, 0
    for sentence in document:
        n += bool(text[at : sentence.start].strip(" "))
        at = sentence.start + len(sentence.text)
    return n + (at < len(text))
