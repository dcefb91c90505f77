"""Running text for tokenizer, language model and lexicon: paragraphs in, sentences out."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\[])")


def sentences(paragraph: str) -> list[str]:
    """A paragraph cut after `.`, `!` or `?` before a capital or a bracket. Rough: for training text only."""
    return _SENTENCE_END.split(paragraph)
