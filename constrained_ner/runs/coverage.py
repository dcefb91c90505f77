"""What part of a gold file an output covers, as the record beside it says.

A run with `--limit 100` has no lines for the other sentences. Scored against the whole file it would miss
nearly everything, and nothing would say why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..data import Sentence
from ..errors import InputError
from .record import RunRecord, record_path
from .splits import data_hash


def record_beside(output: Path) -> RunRecord | None:
    """The record beside an output; None if there is none, or none of this version."""
    try:
        return RunRecord.load(record_path(output))
    except InputError:
        return None


def n_covered(
    output: Path, predicted_ids: Sequence[str], gold: Sequence[Sentence], notify: Callable[[str], None]
) -> int:
    """How many of the gold sentences, from the first, an output covers. All of them if no record says.

    predicted_ids: the sentence ids of the output's lines. notify: called if it is not all, or not known.
    """
    record = record_beside(output)
    if record is None:
        return len(gold)
    if record.failures:
        notify(
            f"{output}: {len(record.failures)} sentences failed in its run; their mentions count as missed"
        )
    if record.n_sentences >= len(gold):
        return len(gold)
    first = {sentence.id for sentence in gold[: record.n_sentences]}
    if record.n_mentions != len(predicted_ids):
        reason = "its record belongs to another output"
    elif record.data_hash != data_hash(gold) or not first.issuperset(predicted_ids):
        reason = "they are not the first sentences of this gold"
    else:
        notify(
            f"{output}: its run annotated the first {record.n_sentences} of {len(gold)} sentences; "
            "only these are evaluated"
        )
        return record.n_sentences
    notify(
        f"{output}: its run annotated {record.n_sentences} of {len(gold)} sentences, but {reason}; "
        "all of them are evaluated"
    )
    return len(gold)
