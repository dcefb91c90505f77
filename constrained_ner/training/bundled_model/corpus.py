"""Reads what the bundled model is trained on from a folder of data files.

    ddi/train.xml                gold, the four types
    text/*.txt.gz                running text; names are tagged by longest match with a lexicon
    ner/*.jsonl.gz               sentences annotated in other schemas; all kinds of chemicals become one type
    lexicon/drugbank_names*      name|type

No other file of `ddi/` is read: the model must not be trained on what measures it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...annotation.lexicon import Lexicon, key_of
from ...data import Document, Mention, Sentence, Span
from ...errors import InputError
from ...evaluation.folds import folds_of
from ...files import read_lines
from ...formats.ddi import read_ddi
from ...formats.name_lines import PUBLIC_NAMES, read_names
from .marks import Marks
from .names import build_lexicon, lower_case_counts
from .swapping import Swapper, names_by_type

TEXTS = {
    "fda_labels_tac": None,
    "drugbank_descriptions": None,
    "medquad": None,
    "mtl_other": None,
    "chem_exposure": None,
    "hallmarks_cancer": None,
    "pubmedqa": None,
    "pmc_oa_biomed": 20_000,
}
"""Text file -> number of paragraphs to read; None for all."""

CHEMICAL_TYPES = {
    "drugprot": {"CHEMICAL"},
    "bc5cdr": {"Chemical"},
    "pitt_package_inserts": {"Active_ingredient", "Drug_product", "Metabolite"},
    "bionlp13cg": {"Simple_chemical"},
    "bionlp13pc": {"Simple_chemical"},
}
"""Annotated file -> its types that are chemicals."""

MIN_CHARACTERS, MAX_CHARACTERS = 25, 350
COMMON_WORD = 20
"""A brand counts as an everyday word if its rarest word occurs in lower case this often in the text."""
SHARE_WITHOUT_NAMES = 0.1

# Names that may be swapped in: no doses, no phrases.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z-]{3,24}( [A-Za-z-]{2,20})?$")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\[])")


@dataclass(frozen=True)
class Corpus:
    """All training data.

    gold: DDI train; empty where it is left out. tagged: text tagged by the lexicon. chemical: other corpora,
    with one type. listed: entity type -> names in the lexicon. marked: text with a teacher's probabilities.
    """

    gold: tuple[Sentence, ...]
    tagged: tuple[Sentence, ...]
    chemical: tuple[Sentence, ...]
    listed: Mapping[str, Sequence[str]]
    swapper: Swapper
    marked: tuple[Marks, ...] = ()


def read_gold(data: Path, fold: int | None = None) -> tuple[list[Document], list[Document]]:
    """Read the annotated documents: those to learn from, and those of the fold that is left out."""
    documents = list(read_ddi(data / "ddi" / "train.xml"))
    held_out = [] if fold is None else folds_of(documents)[fold]
    ids = {document.id for document in held_out}
    return [document for document in documents if document.id not in ids], held_out


def read_corpus(data: Path, *, gold: bool = True, fold: int | None = None, seed: int = 0) -> Corpus:
    """Read all training data under `data`, without the gold of a fold, or without any."""
    annotated = tuple(s for document in read_gold(data, fold)[0] for s in document) if gold else ()
    if gold and not any(s.mentions for s in annotated):
        raise InputError(f"{data / 'ddi' / 'train.xml'}: no sentence has an entity to learn from")
    listed = read_names(data / "lexicon" / "drugbank_names.txt.gz")
    paragraphs = list(read_paragraphs(data))
    lexicon = build_lexicon(listed, annotated, lower_case_counts(paragraphs), common=COMMON_WORD)
    chemical = tuple(read_chemical(data))
    names = _plain_names(listed, lexicon)
    return Corpus(
        gold=annotated,
        tagged=tuple(tag_text(paragraphs, lexicon, np.random.default_rng(seed))),
        chemical=chemical,
        listed=names_by_type(names),
        swapper=Swapper(
            (_gold_names(annotated), names_by_type([*names, *_unknown_chemicals(chemical, lexicon)]))
        ),
    )


def tokenizer_texts(
    data: Path, *, gold: bool = True, fold: int | None = None, n_names: int = 0
) -> Iterator[str]:
    """Yield what the tokenizer is trained on: the DDI sentences ten times, all other text once.

    gold, fold: as in `read_corpus`.
    n_names: how many times to add each public name of one word, so that more names are one token.
    """
    annotated = [s.text for document in read_gold(data, fold)[0] for s in document] if gold else []
    names = [f" {n}, {n.lower()}" for n, _ in read_names(PUBLIC_NAMES) if n.isalpha() and 4 <= len(n) <= 20]
    return itertools.chain(annotated * 10, read_paragraphs(data), names * n_names)


def read_paragraphs(data: Path) -> Iterator[str]:
    """Yield the paragraphs of the text files, each file up to its limit."""
    for name, limit in TEXTS.items():
        yield from itertools.islice(read_lines(data / "text" / f"{name}.txt.gz"), limit)


def tag_text(paragraphs: Iterable[str], lexicon: Lexicon, rng: np.random.Generator) -> Iterator[Sentence]:
    """Yield tagged sentences of medium length. Few of them have no name, as in gold."""
    for number, text in enumerate(itertools.chain.from_iterable(map(_sentences, paragraphs))):
        if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
            mentions = lexicon.tag(text)
            if mentions or rng.random() < SHARE_WITHOUT_NAMES:
                yield Sentence(f"text.{number}", text, tuple(mentions))


def _sentences(paragraph: str) -> list[str]:
    """Split after `.`, `!` or `?` before a capital or a bracket. Rough, but good enough for training text."""
    return _SENTENCE_END.split(paragraph)


def read_chemical(data: Path) -> Iterator[Sentence]:
    """Yield the sentences of the other corpora, their chemicals as mentions of one type."""
    for name, kinds in CHEMICAL_TYPES.items():
        path = data / "ner" / f"{name}.jsonl.gz"
        for number, line in enumerate(read_lines(path), start=1):
            try:
                yield _read_record(json.loads(line), kinds, f"{name}.{number}")
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: line {number}: not an annotated sentence: {error!r}") from None


def _read_record(record: dict[str, object], kinds: set[str], sentence_id: str) -> Sentence:
    text, entities = record["text"], record["entities"]
    if not isinstance(text, str) or not isinstance(entities, list):
        raise TypeError("text must be a string, entities a list")
    spans = sorted({Span(e["start"], e["end"]) for e in entities if e["type"] in kinds})
    mentions = tuple(Mention((s,), "chemical", text[s.start : s.end]) for s in spans)
    return Sentence(sentence_id, text, mentions)


def _gold_names(gold: Sequence[Sentence]) -> dict[str, list[str]]:
    return names_by_type(
        (s.text[m.start : m.end], m.type) for s in gold for m in s.mentions if not m.discontinuous
    )


def _plain_names(listed: Iterable[tuple[str, str]], lexicon: Lexicon) -> list[tuple[str, str]]:
    """Return the listed names that the lexicon kept, with their types, without doses and phrases."""
    kept = ((name, kind) for name, kind in listed if lexicon.names.get(key_of(name)) == kind)
    return [(name, kind) for name, kind in kept if _PLAIN.match(name)]


def _unknown_chemicals(chemical: Sequence[Sentence], lexicon: Lexicon) -> list[tuple[str, str]]:
    """Return names of chemicals to swap in for drug_n: the lexicon knows them as nothing else."""
    return [
        (m.text, "drug_n")
        for s in chemical
        for m in s.mentions
        if 4 < len(m.text) < 40 and lexicon.names.get(key_of(m.text), "drug_n") == "drug_n"
    ]
