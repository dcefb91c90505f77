"""Sentences as a piece of HTML that shows itself in a notebook: no script, and styles of its own.

The names look as in the page (`view`), on whatever background the notebook has.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import islice

from ..data import Sentence
from ..schema import DDI
from .marks import Mark, marked_html, text_html, type_numbers
from .pages import source, type_colours
from .visible import visible

_MOST = 200  # texts; a notebook keeps all that it shows


def notebook_html(texts: Iterable[Sentence]) -> str:
    """The texts with their names. Of many, the first 200, and how many more there are."""
    rest = iter(texts)
    shown = list(islice(rest, _MOST))
    n_more = sum(1 for _ in rest)
    types = type_numbers((m.type for text in shown for m in text.mentions), DDI.type_names)
    style = f".constrained-ner {{ {source('marks.css')} {type_colours(types)} }}"
    pieces = [f'<div class="constrained-ner"><style>{style}</style>']
    for text in shown:
        marks = [Mark(mention.moved(-text.start)) for mention in text.mentions] if text.start else None
        marked = marked_html(text.text, marks or map(Mark, text.mentions), types)
        pieces.append(f'<p class="names" dir="auto">{marked}</p>')
        if text.failure is not None:
            pieces.append(f"<p>Not annotated: {escape(visible(text.failure))}</p>")
    if n_more:
        pieces.append(f"<p>… and {text_html(f'{n_more:,}')} more; bin/view makes a page of them all.</p>")
    return "".join([*pieces, "</div>"])
