"""drug-named-entity-recognition: a dictionary, no model. It knows no types: whatever it finds is a drug."""

from __future__ import annotations

import spacy
from drug_named_entity_recognition import find_drugs
from seam import Name, answer, read_job

tokenizer = spacy.blank("en").tokenizer


def find(text: str) -> list[Name]:
    tokens = tokenizer(text)
    found = {}
    for _, first, end in find_drugs([token.text for token in tokens], is_ignore_case=True):
        span = tokens[first:end]
        found[span.start_char] = Name(span.text, "drug", span.start_char, span.end_char)
    return list(found.values())


if __name__ == "__main__":
    answer(read_job(), find)
