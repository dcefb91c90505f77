"""Documents that a person would not think of: emoji, CR LF, marks, quotes, and mentions of every kind."""

from __future__ import annotations

from hypothesis import strategies as st

from constrained_ner.data import Document, Mention, Sentence, Span, covered_text

LETTERS = "abcXYZ019 \t\r\n.,;-+=@#'\"|<>&_\\/(){}[]éµßİ\u0301\u00a0\u200b\u2028👩🏽💊"
TYPES = st.sampled_from(["drug", "brand", "drug_n", "a type", "B-x", "é"])
IDS = st.text("ab1.-_é", min_size=1, max_size=6)
TEXTS = st.text(LETTERS, max_size=40)


@st.composite
def mentions_of(draw: st.DrawFn, text: str, discontinuous: bool = True) -> tuple[Mention, ...]:
    """Up to four mentions of a text, each once."""
    found = {}
    for _ in range(draw(st.integers(0, 4)) if text else 0):
        n_pieces = draw(st.integers(1, 2 if discontinuous else 1))
        borders = (
            sorted(draw(st.sets(st.integers(0, len(text)), min_size=2 * n_pieces, max_size=2 * n_pieces)))
            if len(text) + 1 >= 2 * n_pieces
            else [0, len(text)]
        )
        spans = tuple(Span(a, b) for a, b in zip(borders[::2], borders[1::2], strict=True))
        type = draw(TYPES)
        confidence = draw(st.none() | st.floats(0, 1).map(lambda value: round(value, 6)))
        found[spans, type] = Mention(spans, type, covered_text(text, spans), confidence)
    return tuple(found.values())


@st.composite
def running_texts(draw: st.DrawFn, discontinuous: bool = True) -> Document:
    """A document of running text, not empty."""
    text = draw(TEXTS.filter(bool))
    return Document.of_text(draw(IDS), text, draw(mentions_of(text, discontinuous)))


@st.composite
def apart(draw: st.DrawFn) -> Document:
    """A document of sentences that is no running text, as in the DDI corpus."""
    id = draw(IDS)
    texts = draw(st.lists(TEXTS, min_size=1, max_size=3))
    sentences = [Sentence(f"{id}.s{n}", t).with_mentions(draw(mentions_of(t))) for n, t in enumerate(texts)]
    return Document(id, tuple(sentences))


def lists_of(documents: st.SearchStrategy[Document]) -> st.SearchStrategy[list[Document]]:
    """Documents with different ids."""
    return st.lists(documents, min_size=1, max_size=3, unique_by=lambda document: document.id)
