"""Weigh the listed names that are also everyday words, by how often they stand unmarked in running text.

    python benchmarks/everyday_names.py TEXT.txt.gz ... --labelled train.xml > everyday_names.txt

Writes `name|weight` lines: the share of a name's places that are names, one added to each count, for names
with a share under 0.75. All others have weight 1. No text goes into the file, only names of the public list.

Running text has no marks. There a brand is a name where it is capitalised within a sentence, and a word where
it is in lower case. Generic names are in lower case anyway, so for them only labelled text can say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from constrained_ner.annotation.lexicon import Key, key_of, public_names
from constrained_ner.data import Document
from constrained_ner.files import read_lines
from constrained_ner.formats.documents import read_documents

_BEGINS_SENTENCE = re.compile(r"(?:^|[.!?:;\u2022])[\s\"'(\[]*$")
_LARGEST = 0.75
_TYPES = ("drug", "brand")

Evidence = Iterator[tuple[Key, bool]]
"""Pairs of a name, and whether a place of it is one."""


def in_running_text(texts: Iterable[str]) -> Evidence:
    """What the case of brands says."""
    names = public_names(_TYPES)
    for text in texts:
        for found in names.tag(text):
            if found.type != "brand" or _BEGINS_SENTENCE.search(text, max(0, found.start - 8), found.start):
                continue
            if found.text.islower():
                yield key_of(found.text), False
            elif found.text[0].isupper() and not found.text.isupper():
                yield key_of(found.text), True


def in_labelled_text(documents: Iterable[Document]) -> Evidence:
    """What the marks say."""
    names = public_names(_TYPES)
    for document in documents:
        for sentence in document:
            marked = {(m.start, m.end) for m in sentence.mentions}
            for found in names.tag(sentence.text):
                yield key_of(found.text), (found.start, found.end) in marked


def weights(evidence: Iterable[tuple[Key, bool]]) -> dict[str, float]:
    """Name -> share of its places that are names, for those that are often none."""
    named: Counter[Key] = Counter()
    plain: Counter[Key] = Counter()
    for key, is_name in evidence:
        (named if is_name else plain)[key] += 1
    shares = {key: (named[key] + 1) / (named[key] + plain[key] + 1) for key in plain}
    return {" ".join(key): share for key, share in sorted(shares.items()) if share < _LARGEST}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "text", nargs="*", type=Path, help="Running text, a paragraph a line; may be gzipped."
    )
    parser.add_argument("--labelled", type=Path, help="Annotated file, of any format.")
    asked = parser.parse_args()
    evidence: list[tuple[Key, bool]] = []
    for path in asked.text:
        evidence += in_running_text(read_lines(path))
        print(f"{path}: {len(evidence)} places so far", file=sys.stderr)
    if asked.labelled:
        evidence += in_labelled_text(read_documents(asked.labelled))
    for name, weight in weights(evidence).items():
        print(f"{name}|{weight:.3f}")


if __name__ == "__main__":
    main()
