"""Examples that are the same for every question, the most useful first."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...data import Sentence
from ...errors import InputError
from ...files import read_text
from .pool import Candidate, Pool


def first(pool: Pool, n: int) -> list[Sentence]:
    """The first ones of the file."""
    return [candidate.sentence for candidate in pool.candidates[:n]]


def random(pool: Pool, n: int, seed: int) -> list[Sentence]:
    """Drawn at random. With the same seed, fewer examples are the first ones of more."""
    return [candidate.sentence for candidate in shuffled(pool.candidates, seed)[:n]]


def diverse(pool: Pool, n: int, seed: int) -> list[Sentence]:
    """A quota of sentences for every type, the rarest type first, then sentences at random.

    The quotas take about half of the n sentences, evenly over the types, so the other half shows how frequent
    the types are. If n is too small for a sentence of each type, sentences that show most types come first.
    No two sentences are from one document as long as there are other documents.
    """
    left = shuffled(pool.candidates, seed)
    needed = Counter(dict.fromkeys(pool.types, quota(n, len(pool.types))))
    chosen: list[Candidate] = []
    while len(chosen) < n:
        wanted = next((name for name in pool.types if needed[name] > 0), None)
        missing = {name for name in pool.types if not any(name in c.types for c in chosen)}
        fitting = [c for c in left if wanted is None or wanted in c.types]
        if not fitting:  # no sentence of this type is left
            needed[str(wanted)] = 0
            continue
        documents = {c.document for c in chosen}
        fresh = [c for c in fitting if c.document not in documents] or fitting
        too_few = len(missing) > n - len(chosen)
        best = _showing_most(left, missing) if too_few else fresh[0]
        chosen.append(best)
        left.remove(best)
        needed.subtract(best.types)
    return [candidate.sentence for candidate in chosen]


def _showing_most(candidates: Sequence[Candidate], types: set[str]) -> Candidate:
    return max(candidates, key=lambda c: len(c.types & types))


def quota(n: int, n_types: int) -> int:
    """How many of n examples should show each type. Example: quota(15, 4) -> 2"""
    return math.ceil(n / (2 * n_types)) if n_types else 0


def shuffled(candidates: Iterable[Candidate], seed: int) -> list[Candidate]:
    """In an order that depends only on the seed and the sentence ids: the same on every machine."""
    return sorted(candidates, key=lambda c: hashlib.sha256(f"{seed}\0{c.sentence.id}".encode()).digest())


def read_picked(path: Path) -> list[tuple[int, str]]:
    """Line numbers and sentence ids, one id a line; empty lines and comments after # are skipped."""
    lines = read_text(path, InputError).splitlines()
    ids = [(number, line.split("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    return [(number, sentence_id) for number, sentence_id in ids if sentence_id]


def find_picked(
    listed: Iterable[tuple[int, str]], pool: Pool, every: Iterable[Sentence], path: Path, examples_path: Path
) -> list[Sentence]:
    """The sentences of a list of ids (see `read_picked`), in its order.

    every: all sentences of the examples file. path: of the list.
    Raises InputError for an id that is unknown or duplicate, or whose sentence cannot be shown.
    """
    usable = {candidate.sentence.id: candidate.sentence for candidate in pool.candidates}
    known = {sentence.id for sentence in every}
    chosen: dict[str, Sentence] = {}
    for number, sentence_id in listed:
        place = f"{path}: line {number}: sentence {sentence_id}"
        if sentence_id not in known:
            raise InputError(f"{place} is not in {examples_path}")
        if sentence_id not in usable:
            raise InputError(
                f"{place} cannot be an example: it is empty, its text is also evaluated, or it has mentions "
                "that tags cannot express"
            )
        if sentence_id in chosen:
            raise InputError(f"{place} is listed twice")
        chosen[sentence_id] = usable[sentence_id]
    return list(chosen.values())
