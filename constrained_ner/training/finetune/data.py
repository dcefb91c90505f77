"""Reads and checks what a fine-tuning learns from and measures on, and reports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...data import Sentence
from ...errors import InputError, SchemaError
from ...schema import Schema
from ...text.corpus import read_labelled
from ..targets import WrittenTargets

Log = Callable[[str], None]


def read(path: Path, log: Log, types: Mapping[str, str] | None = None) -> list[Sentence]:
    """Read the sentences of an annotated file. Raises InputError if none has a mention.

    types: what the file calls a type -> what we call it.
    """
    documents = read_labelled(path, notify=lambda message: log(f"note: {message}"), types=types)
    sentences = [sentence for document in documents for sentence in document]
    if not any(sentence.mentions for sentence in sentences):
        raise InputError(
            f"{path}: no entity in its {len(sentences)} sentences, so there is nothing to learn or measure"
        )
    return sentences


def check_types(path: Path, sentences: Sequence[Sentence], schema: Schema, log: Log) -> None:
    """Report types that the data or the schema lacks. Raises SchemaError if they have none in common."""
    counts = Counter(m.type for s in sentences for m in s.mentions)
    unknown = [t for t in sorted(counts) if t not in schema.type_names]
    unseen = [t for t in schema.type_names if t not in counts]
    if len(unseen) == len(schema.types):
        raise SchemaError(
            f"{path}: the schema {schema.name} has none of its types, {', '.join(sorted(counts))}"
        )
    for t in unknown:
        log(
            f"warning: {path}: type {t} is not in the schema {schema.name}; {counts[t]} mentions are left out"
        )
    for t in unseen:
        log(f"warning: {path}: no mention of type {t} of the schema {schema.name}, so it will not be learnt")


def report_examples(written: WrittenTargets, path: Path, log: Log) -> None:
    """Report how much there is to learn from and what was left out. Raises InputError if nothing is left."""
    require_examples(written, path)
    n_tokens = max(len(e.ids) for e in written.examples)
    n_decisions = sum(len(e.decisions) for e in written.examples)
    log(
        f"{len(written.examples)} examples, {n_decisions} decisions, at most {n_tokens} tokens; "
        "every answer is legal"
    )
    for reason, n in written.refused.most_common():
        log(f"warning: {n} mentions cannot be written as tags and are left out: {reason}")
    for sentence_id, reason in written.dropped:
        log(f"warning: sentence {sentence_id} is left out: {reason}")


def require_examples(written: WrittenTargets, path: Path) -> None:
    """Raise InputError if every sentence of a file was left out."""
    if not written.examples:
        sentence_id, reason = written.dropped[0]
        raise InputError(
            f"{path}: sentence {sentence_id}: {reason}; no other sentence is left to learn or measure"
        )


def every_kth(sentences: Sequence[Sentence], n_most: int | None) -> list[Sentence]:
    """Take `n_most` sentences evenly spread over the file; None takes all."""
    if n_most is None or n_most >= len(sentences):
        return list(sentences)
    return [sentences[i * len(sentences) // n_most] for i in range(n_most)]
