"""A component for spaCy's pipelines, and sentences as spaCy's documents.

    nlp = spacy.blank("en")
    nlp.add_pipe("constrained_ner", config={"options": {"min_confidence": 0.5}})
    for ent in nlp("Ketoconazole raises midazolam levels.").ents:
        print(ent.text, ent.label_, ent._.confidence, ent._.provenance)

spaCy's entities are ranges of tokens. A name that begins or ends inside of a token takes the whole token;
such names are counted in `doc._.n_inside_tokens` and told in a warning, and `ent._.offsets` has the exact
places.
Entities that are there already stay, and names that overlap them, or one another, are only in the span group
`doc.spans["constrained_ner"]`, which has every name.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator
from ..annotation.kept import KeptAnnotator
from ..annotation.settings import Settings
from ..data import Document, Mention, Sentence
from ..errors import MissingExtraError

try:
    from spacy.language import Language
    from spacy.tokens import Doc, Span
    from spacy.util import filter_spans, minibatch
except ModuleNotFoundError as error:
    raise MissingExtraError("spacy", "spacy") from error

GROUP = "constrained_ner"
"""The span group with every name."""

_FILE = "settings.json"


def _register_extensions() -> None:
    """confidence: from 0 to 1, or None. provenance: how the offsets were obtained. offsets: [start, end) of
    each piece in characters. n_inside_tokens: names of a document that do not fit its tokens."""
    for name in ("confidence", "provenance", "offsets"):
        if not Span.has_extension(name):
            Span.set_extension(name, default=None)
    if not Doc.has_extension("n_inside_tokens"):
        Doc.set_extension("n_inside_tokens", default=0)


_register_extensions()


def doc_of(sentence: Sentence, nlp: Language) -> Doc:
    """A sentence as a document of spaCy, in the tokens of the pipeline's tokenizer; no component is run."""
    doc = nlp.make_doc(sentence.text)
    _place(doc, sentence.mentions)
    _tell(doc._.n_inside_tokens)
    return doc


def _place(doc: Doc, mentions: Iterable[Mention], *, overwrite: bool = False) -> None:
    """Put mentions into a document. overwrite: in place of the entities that it has."""
    spans = []
    n_inside = 0
    for mention in mentions:
        span = doc.char_span(mention.start, mention.end, label=mention.type)
        if span is None:
            n_inside += 1
            span = doc.char_span(mention.start, mention.end, label=mention.type, alignment_mode="expand")
        if span is None:
            continue
        span._.confidence = mention.confidence
        span._.provenance = mention.provenance
        span._.offsets = [[piece.start, piece.end] for piece in mention.spans]
        spans.append(span)
    present = [] if overwrite else list(doc.ents)
    taken = {token.i for ent in present for token in ent}
    free = [span for span in spans if not any(token.i in taken for token in span)]
    doc.spans[GROUP] = spans
    doc.set_ents([*present, *filter_spans(free)])
    doc._.n_inside_tokens = n_inside


def _tell(n_inside: int) -> None:
    if n_inside:
        names = "1 name begins or ends" if n_inside == 1 else f"{n_inside} names begin or end"
        warnings.warn(
            f"{names} inside of a token of spaCy: the whole token is taken, and ent._.offsets is exact",
            stacklevel=3,
        )


@Language.factory(
    "constrained_ner",
    default_config={"model": None, "options": {}, "overwrite": False},
    assigns=["doc.ents", "doc.spans", "token.ent_type", "token.ent_iob"],
)
def create_component(
    nlp: Language, name: str, model: str | None, options: Mapping[str, Any], overwrite: bool
) -> ConstrainedNer:
    """The component, for `nlp.add_pipe`. See `ConstrainedNer`."""
    return ConstrainedNer(name, model, options, overwrite=overwrite)


class ConstrainedNer:
    """Finds names in documents: in the sentences that an earlier component has set, or else in its own.

    model: as in `Annotator.load`; None for the one that ships. options: fields of `Settings`, such as
    {"min_confidence": 0.9}. overwrite: replace the entities that earlier components have set.
    The model is loaded when the first document comes, once in each process. What is saved with a pipeline are
    these settings, not the weights. Raises UserError for an option that there is not.
    """

    def __init__(
        self,
        name: str = "constrained_ner",
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        self.name = name
        self._configure({"model": model, "options": dict(options or {}), "overwrite": overwrite})

    def _configure(self, config: Mapping[str, Any]) -> None:
        Settings().changed(**config["options"])
        self.config = dict(config)
        self._kept = KeptAnnotator(lambda: Annotator.load(config["model"], **config["options"]))

    def __call__(self, doc: Doc) -> Doc:
        """The document with its names."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """The documents with their names, in order; a batch is annotated together.

        A sentence that cannot be annotated has no names, and is told in a warning.
        """
        for batch in minibatch(stream, size=batch_size):
            docs = list(batch)
            found = self._kept.get().annotate_documents(_document(n, doc) for n, doc in enumerate(docs))
            for doc, document in zip(docs, found, strict=True):
                _place(doc, (m for _, m in document.located()), overwrite=self.config["overwrite"])
            _tell(sum(doc._.n_inside_tokens for doc in docs))
            yield from docs

    # ---- saved with a pipeline

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """The settings, as JSON."""
        return json.dumps(self.config).encode()

    def from_bytes(self, content: bytes, *, exclude: Iterable[str] = ()) -> ConstrainedNer:
        """Take settings over. A model that is loaded is given up."""
        self._configure(json.loads(content))
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the settings into a folder."""
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / _FILE).write_bytes(self.to_bytes())

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> ConstrainedNer:
        """Take over the settings in a folder."""
        return self.from_bytes((Path(path) / _FILE).read_bytes())

    def __getstate__(self) -> dict[str, Any]:
        """For processes that are not forks."""
        return {"name": self.name, "config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["name"]
        self._configure(state["config"])


def _document(n: int, doc: Doc) -> Document:
    """The text of a document, in the sentences that a component has set, if one has."""
    if not doc.has_annotation("SENT_START"):
        return Document.of_text(str(n), doc.text)
    sentences = (
        Sentence(f"{n}.s{i}", doc.text[sent.start_char : sent.end_char], start=sent.start_char)
        for i, sent in enumerate(doc.sents)
    )
    return Document(str(n), tuple(sentences), doc.text)
