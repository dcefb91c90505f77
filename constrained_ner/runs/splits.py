"""What keeps a figure honest: which split was evaluated, what was learnt from, how often a test was run.

The split of a file is known by a hash of its sentences (ids and texts, in any order and any XML), or the user
states it. Sentences of the evaluated file may be neither examples nor training data. Runs on a test split are
noted in a ledger, because a test set that one goes back to with other settings is a set that one tunes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..data import Sentence
from ..errors import InputError
from ..files import reason, shown

Split = Literal["train", "devel", "test"]

KNOWN_SPLITS: dict[str, Split] = {
    "223137c175b06a3b232e7046e641e9ace68db40cd27ec88f2e4cbadeab591e11": "train",
    "fcc7588d312b019485a1dd2eda29740335c8195ba67006093d40ad49968522d6": "devel",
}
"""Data hash -> split: the course's split of the DDI-2013 corpus (Herrero-Zazo et al. 2013)."""

TRIVIAL_LENGTH = 25
"""Characters. Shorter texts ("Drug Interactions", "Not known.") recur in unrelated documents."""

MOST_SHARED = 0.1
"""Share of a file's longer texts that another file may repeat. Drug labels copy one another: in the course's
split, 5 % of devel's texts are in train, too."""


class DataHash:
    """A hash over the ids and texts of sentences, in any order, without holding them: the sum of theirs."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, sentence: Sentence) -> None:
        content = json.dumps([sentence.id, sentence.text, *([sentence.start] if sentence.start else ())])
        self._sum += int.from_bytes(hashlib.sha256(content.encode()).digest(), "big")

    def hexdigest(self) -> str:
        return f"{self._sum % (1 << 256):064x}"


def data_hash(sentences: Iterable[Sentence]) -> str:
    """The hash over the ids and texts of the sentences, in any order."""
    total = DataHash()
    for sentence in sentences:
        total.add(sentence)
    return total.hexdigest()


def split_of(hash_of_data: str, stated: Split | None, path: str | Path) -> Split | None:
    """Which split a file is: known by its content, else as stated. Raises InputError if the two disagree."""
    known = KNOWN_SPLITS.get(hash_of_data)
    if known and stated and known != stated:
        raise InputError(f"{path}: is the {known} split of the DDI corpus, not {stated}")
    return known or stated


def text_key(text: str) -> str:
    """A key that is equal for texts that differ only in case and white space."""
    return " ".join(text.casefold().split())


def keep_apart(
    used: Sequence[Sentence],
    evaluated: Iterable[Sentence],
    *,
    used_path: str | Path,
    evaluated_path: str | Path,
    purpose: Literal["examples", "training", "fitting"],
) -> list[Sentence]:
    """The sentences that may be used: those whose text is not among the evaluated ones.

    Raises InputError, naming the first sentence, if the two share an id, or more than a tenth of the longer
    texts of either: then they are the same material, not two documents with a phrase in common.
    """
    evaluated = list(evaluated)
    ids = {sentence.id for sentence in evaluated}
    shared_ids = [sentence.id for sentence in used if sentence.id in ids]
    use = {"examples": "as examples", "training": "for training", "fitting": "for fitting"}[purpose]
    where = f"also in {evaluated_path}: what is evaluated cannot be used {use}"
    if shared_ids:
        raise InputError(f"{used_path}: sentence {shared_ids[0]}{_and_others(shared_ids)} is {where}")
    texts = {key for sentence in evaluated if len(key := text_key(sentence.text)) >= TRIVIAL_LENGTH}
    keys = [text_key(sentence.text) for sentence in used]
    longer = {key for key in keys if len(key) >= TRIVIAL_LENGTH}
    shared = longer & texts
    if shared and len(shared) > MOST_SHARED * min(len(longer), len(texts)):
        first = [sentence.id for sentence, key in zip(used, keys, strict=True) if key in shared]
        raise InputError(f"{used_path}: the text of sentence {first[0]}{_and_others(first)} is {where}")
    return [sentence for sentence, key in zip(used, keys, strict=True) if key not in shared]


def _and_others(ids: Collection[str]) -> str:
    return f" (and {len(ids) - 1} others)" if len(ids) > 1 else ""


class LedgerEntry(BaseModel):
    """A run on a test split. data: hash of the sentences. options: fingerprint of the run."""

    model_config = ConfigDict(frozen=True)

    date: str
    data: str
    options: str
    output: str


def ledger_path() -> Path:
    """The ledger of runs on test splits: `constrained-ner/test-runs.jsonl` in the user's state folder.

    That is $XDG_STATE_HOME, %LOCALAPPDATA% on Windows, or ~/.local/state. Raises OSError for a user who has
    no home folder, as in a container that is started with a user id of its own.
    """
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = Path(base) if base else Path.home() / ".local" / "state"
    except RuntimeError:
        raise OSError("no home folder; set XDG_STATE_HOME to a folder where runs can be noted") from None
    return folder / "constrained-ner" / "test-runs.jsonl"


def earlier_test_run(hash_of_data: str, options: str) -> LedgerEntry | None:
    """The last run with other settings on the same test split, if there is one in the ledger."""
    try:
        lines = ledger_path().read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            run = LedgerEntry.model_validate_json(line)
        except ValidationError:  # a line of a later version, or half a line
            continue
        if run.data == hash_of_data and run.options != options:
            return run
    return None


def note_test_run(hash_of_data: str, options: str, output: str | Path) -> str | None:
    """Add a run to the ledger. Returns why that failed, or None."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    run = LedgerEntry(date=now, data=hash_of_data, options=options, output=shown(output))
    try:
        path = ledger_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as ledger:
            ledger.write(run.model_dump_json() + "\n")
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}this run on a test split cannot be noted: {reason(error)}"
    return None
