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
    """How many of the gold texts, from the first, an output covers. All of them if no record says.

    gold: sentences, or whole documents of running text (`Document.texts`). predicted_ids: the ids of the
    output's lines. notify: called if it is not all, or not known.
    """
    record = record_beside(output)
    if record is None:
        return len(gold)
    if record.failures:
        notify(
            f"{output}: {len(record.failures)} sentences failed in its run; their mentions count as missed"
        )
    n_texts = record.n_sentences if record.n_texts is None else record.n_texts
    if n_texts >= len(gold):
        return len(gold)
    first = {text.id for text in gold[:n_texts]}
    if record.n_mentions != len(predicted_ids):
        reason = "its record belongs to another output"
    elif record.data_hash != data_hash(gold) or not first.issuperset(predicted_ids):
        reason = "they are not the first sentences of this gold"
    else:
        notify(
            f"{output}: its run annotated the first {n_texts} of {len(gold)} texts; only these are evaluated"
        )
        return n_texts
    notify(
        f"{output}: its run annotated {n_texts} of {len(gold)} texts, but {reason}; all of them are evaluated"
    )
    return len(gold)
