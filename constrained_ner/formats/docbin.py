"""spaCy's training files (`.spacy`): a DocBin of documents with tokens and entities. Through spaCy itself.

spaCy's entities are ranges of tokens that do not overlap. Its tokens are cut where a mention begins or ends,
so that each mention is one; mentions of a document where some overlap are also its span group "sc".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Document, Mention
from ..errors import InputError, MissingExtraError
from ..files import reason, require_content
from .flat_mentions import count_confidences, flat, trimmed
from .labelled_texts import LabelledText, labelled_texts
from .protocol import Losses, Reading
from .raw_mentions import RawMention, RawText
from .records import Record, documents_of

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

GROUP = "sc"
"""The span group that spaCy's span categoriser learns from by default."""

_ID = "id"


def read_docbin(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a file, with entities and span groups as mentions. Raises InputError."""
    docs = _docs(path)

    def records() -> Iterator[Record]:
        for number, doc in enumerate(docs, start=1):
            yield Record(number, f"document {number}", [_raw_text(doc)])

    yield from documents_of(path, reading, records)


def write_docbin(documents: Iterable[Document], losses: Losses) -> Iterator[bytes]:
    """The content of a file, in one piece: spaCy packs all documents together."""
    packed = _spacy().tokens.DocBin(store_user_data=True)
    for text in labelled_texts(documents, losses):
        packed.add(_doc(_language(), text, losses))
    yield packed.to_bytes()


def _spacy() -> Any:
    try:
        import spacy
        import spacy.tokens
        import spacy.vocab
    except ModuleNotFoundError as error:
        raise MissingExtraError("spacy", "spacy") from error
    return spacy


@cache  # takes half a second
def _language() -> Language:
    language: Language = _spacy().blank("en")
    return language


def _docs(path: Path) -> list[Doc]:
    spacy = _spacy()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    require_content(path, InputError, content)
    if not content:
        raise InputError(f"{path}: the file is empty")
    try:
        return list(spacy.tokens.DocBin().from_bytes(content).get_docs(spacy.vocab.Vocab()))
    except Exception as error:  # zlib, msgpack and spaCy each have their own
        raise InputError(f"{path}: not a DocBin of spaCy: {type(error).__name__}: {error!s:.80}") from None


def _raw_text(doc: Doc) -> RawText:
    spans = {(span.start_char, span.end_char, span.label_): span for span in doc.ents}
    for group in doc.spans.values():
        for span in group:
            spans.setdefault((span.start_char, span.end_char, span.label_), span)
    mentions = tuple(
        RawMention(((start, end),), label or None, span.text) for (start, end, label), span in spans.items()
    )
    id = doc.user_data.get(_ID)
    return RawText(doc.text, mentions, id if isinstance(id, str) else None)


def _doc(language: Language, text: LabelledText, losses: Losses) -> Doc:
    from spacy.tokens import Doc

    count_confidences(text.mentions, losses)
    whole = trimmed(text.text, text.mentions, losses)
    kept = flat(whole, Losses())  # what it leaves out is in the span group
    losses.add(f"mentions that overlap others, only in span group {GROUP!r}", len(whole) - len(kept))
    words, spaces = _words(language, text.text, whole)
    doc = Doc(language.vocab, words=words, spaces=spaces, user_data={_ID: text.id})
    doc.set_ents(_spans(doc, kept))
    if len(kept) < len(whole):
        doc.spans[GROUP] = _spans(doc, whole)
    return doc


def _spans(doc: Doc, mentions: Sequence[Mention]) -> list[Any]:
    return [doc.char_span(mention.start, mention.end, label=mention.type) for mention in mentions]


def _words(language: Language, text: str, mentions: Sequence[Mention]) -> tuple[list[str], list[bool]]:
    """spaCy's tokens, cut at the borders of mentions, and whether a space follows each.

    No mention begins or ends with a blank.
    """
    cuts = {border for mention in mentions for border in (mention.start, mention.end)}
    for token in language.make_doc(text):
        cuts |= {token.idx, token.idx + len(token)}
    words: list[str] = []
    spaces: list[bool] = []
    at = 0
    for cut in sorted(cuts):
        if cut > at:
            words.append(text[at:cut])
            spaces.append(text[cut : cut + 1] == " ")
            at = cut + spaces[-1]
    return words, spaces
