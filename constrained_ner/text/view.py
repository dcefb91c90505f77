"""A view of a text: what the model is shown, and the way back to the text.

    view = view_of("mida\u00adzolam\u00a0levels", "plain")
    view.text                                                     -> "midazolam levels"
    view.original_sentence(Sentence("1", view.text, <drug 0-9>))  -> drug 0-10, "mida\u00adzolam"

Each character of a view stands for a piece of the original. Pieces come in order and are never empty; what
lies between two of them is not shown. So a mention never begins or ends in what is not shown, and its offsets
are exact whatever was changed. Text that needs no change is its own view.

plain.py says what is changed in characters, case.py which case is shown.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..data import Mention, Sentence, Span, covered_text
from .case import cased
from .plain import PLAIN_STEPS, Edit

ViewName = Literal["plain", "as-is"]
"""What the model is shown: ordinary characters and case, or the text as it is."""


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a text.

    starts, ends: for each character of the view, the piece of the original that it stands for. Characters
        that stand for one piece together ("fi" for a ligature) all have its start and end.
    """

    text: str
    original: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, text: str) -> View:
        """The text as it is."""
        return cls(text, text, range(len(text)), range(1, len(text) + 1))

    def edited(self, edits: Iterable[Edit]) -> View:
        """The view with other text in some places. edits: in order, disjoint."""
        parts: list[str] = []
        starts, ends = array("q"), array("q")
        done = 0
        for start, end, shown in [*edits, (len(self.text), len(self.text), "")]:
            parts += (self.text[done:start], shown)
            starts.extend(self.starts[done:start])
            ends.extend(self.ends[done:start])
            if shown:
                starts.extend([self.starts[start]] * len(shown))
                ends.extend([self.ends[end - 1]] * len(shown))
            done = end
        return View("".join(parts), self.original, starts, ends)

    def shown_sentence(self, sentence: Sentence) -> Sentence:
        """The sentence as it is shown; mentions of which nothing is shown are left out.

        sentence: has the original text.
        """
        if self.text == self.original:
            return sentence
        shown = ((mention, [self._shown(span) for span in mention.spans]) for mention in sentence.mentions)
        mentions = [
            replace(mention, spans=tuple(spans), text=covered_text(self.text, spans))
            for mention, found in shown
            if len(spans := [span for span in found if span is not None]) == len(mention.spans)
        ]
        return replace(sentence, text=self.text).with_mentions(mentions)

    def original_sentence(self, sentence: Sentence) -> Sentence:
        """The sentence as it was, from one that has the view's text.

        Mentions that were disjoint still are: a piece belongs to the first one that has a part of it.
        """
        if self.text == self.original:
            return replace(sentence, text=self.original)
        mentions: list[Mention] = []
        done = 0
        for mention in sentence.with_mentions(sentence.mentions).mentions:
            spans = []
            for span in mention.spans:
                start = self.starts[span.start]
                if start < done and span.start and self.starts[span.start - 1] == start:
                    start = done
                end = self.ends[span.end - 1]
                if start < end:
                    spans.append(Span(start, end))
                    done = max(done, end)
            if spans:
                text = covered_text(self.original, spans)
                mentions.append(replace(mention, spans=tuple(spans), text=text))
        return replace(sentence, text=self.original).with_mentions(mentions)

    def _shown(self, span: Span) -> Span | None:
        """The characters that stand for a span of the original, without blanks around them."""
        start, end = bisect_right(self.ends, span.start), bisect_left(self.starts, span.end)
        shown = self.text[start:end]
        start, end = start + len(shown) - len(shown.lstrip()), end - len(shown) + len(shown.rstrip())
        return Span(start, end) if start < end else None


def view_of(text: str, name: ViewName = "plain") -> View:
    """What is shown of a text. The view of a plain view's text is that text.

    It depends on the text alone, and takes time in proportion to its length.
    """
    view = View.of(text)
    if name == "as-is":
        return view
    shown = None
    while shown != view.text:  # one step may make work for another; each leaves less to do
        shown = view.text
        for step in PLAIN_STEPS:
            view = _changed(view, step)
    return _changed(view, cased)


def shown_sentence(sentence: Sentence, name: ViewName = "plain") -> Sentence:
    """An annotated sentence, such as an example, as the model is shown it."""
    return view_of(sentence.text, name).shown_sentence(sentence)


def _changed(view: View, step: Callable[[str], Iterator[Edit]]) -> View:
    edits = list(step(view.text))
    return view.edited(edits) if edits else view
