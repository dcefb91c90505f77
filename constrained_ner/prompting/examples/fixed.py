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
    """Drawn at random. Fewer with the same seed are the first of more."""
    return [candidate.sentence for candidate in shuffled(pool.candidates, seed)[:n]]


def diverse(pool: Pool, n: int, seed: int) -> list[Sentence]:
    """Every type in its quota of sentences, the rarest first, then at random.

    The quotas take about half of the n sentences, evenly over the types, so that the other half shows how
    frequent they are. Where n is too small for a sentence of each type, those come first that show most of
    them. No two are of one document as long as there are others.
    """
    left = shuffled(pool.candidates, seed)
    needed = Counter(dict.fromkeys(pool.types, quota(n, len(pool.types))))
    chosen: list[Candidate] = []
    while len(chosen) < n:
        wanted = next((name for name in pool.types if needed[name] > 0), None)
        missing = {name for name in pool.types if not any(name in c.types for c in chosen)}
        fitting = [c for c in left if wanted is None or wanted in c.types]
        if not fitting:  # no more sentences of this type
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
    """In how many of n examples each type shall be. Example: quota(15, 4) -> 2"""
    return math.ceil(n / (2 * n_types)) if n_types else 0


def shuffled(candidates: Iterable[Candidate], seed: int) -> list[Candidate]:
    """In an order that depends on the seed and the sentences' ids alone: the same on every machine."""
    return sorted(candidates, key=lambda c: hashlib.sha256(f"{seed}\0{c.sentence.id}".encode()).digest())


def read_picked(path: Path) -> list[tuple[int, str]]:
    """Sentence ids with their line numbers, one a line; empty lines and what follows a # do not count."""
    lines = read_text(path, InputError).splitlines()
    ids = [(number, line.split("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    return [(number, sentence_id) for number, sentence_id in ids if sentence_id]


def picked(path: Path, pool: Pool, every: Iterable[Sentence], examples_path: Path) -> list[Sentence]:
    """The sentences whose ids a file lists, in its order.

    every: all sentences of the examples file. Raises InputError for an id that is not among them, that stands
    twice, or whose sentence cannot be shown.
    """
    usable = {candidate.sentence.id: candidate.sentence for candidate in pool.candidates}
    known = {sentence.id for sentence in every}
    chosen: dict[str, Sentence] = {}
    for number, sentence_id in read_picked(path):
        place = f"{path}: line {number}: sentence {sentence_id}"
        if sentence_id not in known:
            raise InputError(f"{place} is not in {examples_path}")
        if sentence_id not in usable:
            raise InputError(
                f"{place} cannot be an example: it has no text, one that is evaluated, or mentions that tags "
                "cannot express"
            )
        if sentence_id in chosen:
            raise InputError(f"{place} stands twice")
        chosen[sentence_id] = usable[sentence_id]
    return list(chosen.values())
