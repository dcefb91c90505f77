"""Documents of every kind that a format may be given to write, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from constrained_ner.data import Document, Mention, Sentence, Span, covered_text
from constrained_ner.formats.passages import Passage, document_of

CHARACTERS = st.sampled_from("ab c Öµ😀\n\r\t<>&'\"|;/\ufeff\u2028.,") | st.characters(
    exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20
)
TEXTS = st.text(CHARACTERS, max_size=30)
TYPES = st.sampled_from(["drug", "drug_n", "Chemical", "two words", "é/1", "relation", "a<b>"])
IDS = st.text("aB1.-_/é", min_size=1, max_size=5)


@st.composite
def mentions_in(draw: st.DrawFn, text: str) -> list[Mention]:
    """Mentions anywhere in a text: overlapping, discontinuous, of blanks and line breaks."""
    mentions = []
    for _ in range(draw(st.integers(0, 4)) if text else 0):
        cuts = draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=4))
        places = sorted(cuts)[: len(cuts) // 2 * 2]
        spans = tuple(Span(start, end) for start, end in zip(places[::2], places[1::2], strict=True))
        confidence = draw(st.none() | st.sampled_from([0.0, 0.25, 1.0]))
        mentions.append(Mention(spans, draw(TYPES), covered_text(text, spans), confidence))
    return mentions


@st.composite
def sentences(draw: st.DrawFn, id: str) -> Sentence:
    text = draw(TEXTS)
    return Sentence(id, text).with_mentions(draw(mentions_in(text)))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A document without a text of its own, in one passage, in several, or in sentences."""
    id = draw(IDS)
    parts = [draw(sentences(f"{id}.s{n}")) for n in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        return Document(id, tuple(parts))
    text, passages, mentions = draw(st.sampled_from(["", " ", "  "])), [], []
    for part in parts:
        if part.text:
            passages.append(Passage(len(text), part.text))
            mentions += [mention.moved(len(text)) for mention in part.mentions]
        text += part.text + draw(st.sampled_from(["", " ", "\n", "\r\n", " \n\n"]))
    return document_of(id, text, passages, mentions, in_sentences=draw(st.booleans()))


CORPORA = st.lists(documents(), max_size=4, unique_by=lambda document: document.id)
