"""The record of a run: what was asked for, with what, and what came of it. JSON beside the output."""

from __future__ import annotations

import platform
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..files import first_misfit, write_atomically
from .journal import SentenceResult
from .splits import Split

LIBRARIES = (
    "constrained-ner",
    "bitsandbytes",
    "llama-cpp-python",
    "llguidance",
    "numpy",
    "ollama",
    "openai",
    "outlines",
    "outlines_core",
    "peft",
    "pydantic",
    "rapidfuzz",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
    "xgrammar",
)
"""Distributions whose versions may matter to a result."""


class RunRecord(BaseModel):
    """One run, as it is in `out.run.json`.

    fingerprint: of what decides the output (see `journal.fingerprint`); runs with the same one have the same
        output. None in records of earlier versions.
    mentions: the file that says more about each mention than the output can (see `formats.mentions`).
    options: all that was chosen, as plain data.
    data_hash, split: what was annotated (see `splits`); split is None if it is neither known nor stated.
    n_resumed: sentences taken over from an interrupted run; elapsed_s does not cover them.
    peak_memory_mb: the most memory that each process has held that annotated; 0 if the system does not say.
    legal_share: mean share of the model's probability that was legal where it decided, None if it never did.
    failures, problems: pairs of sentence id and message. A failed sentence has no mentions.
    """

    model_config = ConfigDict(frozen=True)

    started: str
    input: str
    output: str
    mentions: str | None = None
    fingerprint: str | None = None
    options: dict[str, Any]
    data_hash: str | None = None
    split: Split | None = None
    schema_hash: str
    prompt_hash: str
    model_hash: str | None
    versions: dict[str, str]
    n_sentences: int
    n_resumed: int
    n_mentions: int
    n_mentions_by_type: dict[str, int]
    n_mentions_by_provenance: dict[str, int]
    elapsed_s: float
    peak_memory_mb: tuple[float, ...] = ()
    n_passes: int
    n_tokens: int
    legal_share: float | None
    effort: dict[str, int | float]
    failures: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]

    def save(self, path: str | Path) -> None:
        """Write the record as indented JSON, atomically. Raises OutputError."""
        write_atomically(Path(path), [self.model_dump_json(indent=2), "\n"])

    @classmethod
    def load(cls, path: str | Path) -> RunRecord:
        """Read a record. Raises InputError if it is none. Fields that this version lacks are ignored."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise InputError(f"{path}: not the record of a run: {first_misfit(error, 'record')}") from None


class Totals:
    """What a record says of the sentences of a run, added up one by one."""

    def __init__(self) -> None:
        self._n_sentences = 0
        self._by_type: Counter[str] = Counter()
        self._by_provenance: Counter[str] = Counter()
        self._effort: dict[str, int | float] = {}
        self._failures: list[tuple[str, str]] = []
        self._problems: list[tuple[str, str]] = []

    def add(self, result: SentenceResult) -> None:
        """Count one more sentence."""
        self._n_sentences += 1
        self._by_type.update(mention.type for mention in result.mentions)
        self._by_provenance.update(mention.provenance for mention in result.mentions)
        for name, figure in result.effort.items():
            self._effort[name] = self._effort.get(name, 0) + figure
        if result.failure is not None:
            self._failures.append((result.sentence_id, result.failure))
        self._problems += ((result.sentence_id, problem) for problem in result.problems)

    def fields(self) -> dict[str, Any]:
        """The sums, under the names of `RunRecord`."""
        n_decisions = self._effort.get("n_decisions", 0)
        return {
            "n_sentences": self._n_sentences,
            "n_mentions": self._by_type.total(),
            "n_mentions_by_type": dict(sorted(self._by_type.items())),
            "n_mentions_by_provenance": dict(sorted(self._by_provenance.items())),
            "n_passes": int(self._effort.get("n_passes", 0)),
            "n_tokens": int(self._effort.get("n_tokens", 0)),
            "legal_share": self._effort.get("legal_mass", 0) / n_decisions if n_decisions else None,
            "effort": self._effort,
            "failures": tuple(self._failures),
            "problems": tuple(self._problems),
        }


def record_path(out: str | Path) -> Path:
    """The record of a run. Example: "results/out" -> results/out.run.json"""
    out = Path(out)
    return out.with_name(out.name + ".run.json")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of those LIBRARIES that are installed, without importing any."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
