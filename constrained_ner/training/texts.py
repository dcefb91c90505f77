"""Running text for tokenizer, language model and lexicon: files in, paragraphs and sentences out."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\[])")


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a plain or gzipped file, without their newline."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as f
        ):
            for line in f:
                yield line.rstrip("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def sentences(paragraph: str) -> list[str]:
    """A paragraph cut after `.`, `!` or `?` before a capital or a bracket. Rough: for training text only."""
    return _SENTENCE_END.split(paragraph)
