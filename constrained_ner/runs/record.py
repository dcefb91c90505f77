"""The record of a run: what was asked for, with what, and what came of it. JSON beside the output."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..files import shown, write_atomically
from ..misfits import first_misfit
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
    """One run: what was asked for, with what, and what came of it."""

    model_config = ConfigDict(frozen=True, title="OUT.run.json")

    started: str = Field(description="When the run started: ISO 8601, UTC.")
    input: str = Field(description="The file or folder that was annotated, as it was named.")
    output: str = Field(description="The output, as it was named.")
    mentions: str | None = Field(
        default=None, description="The file that says more about each mention (OUTPUT.mentions.jsonl)."
    )
    fingerprint: str | None = Field(
        default=None,
        description="Hash of all that decides the output: texts, weights, settings. Runs with the same one "
        "have the same output. null in records of earlier versions.",
    )
    options: dict[str, Any] = Field(
        description="All that was chosen: options as they were typed, and what defaults came to. model "
        "describes the model and where it ran; example_ids are the sentences shown as examples."
    )
    data_hash: str | None = Field(
        default=None, description="SHA-256 over ids and texts of all sentences of the input, in any order."
    )
    split: Split | None = Field(
        default=None, description="Which split the input is; null if that is neither known nor stated."
    )
    skipped_files: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Files of the input, and records in it, that could not be read, with the reason.",
    )
    schema_hash: str = Field(description="SHA-256 of the entity types.")
    prompt_hash: str = Field(description="SHA-256 of the wording of the prompt.")
    model_hash: str | None = Field(
        description="SHA-256 of the model's files, or its commit on the hub; null if a server does not say."
    )
    versions: dict[str, str] = Field(description="Versions of Python, the platform and the libraries.")
    n_sentences: int = Field(description="Sentences annotated, those that failed included.")
    n_texts: int | None = Field(
        default=None,
        description="Texts that were annotated whole: sentences of a corpus, documents of running text. null "
        "in records of earlier versions.",
    )
    n_resumed: int = Field(
        description="Of these, sentences taken over from an interrupted run; elapsed_s does not cover them."
    )
    n_mentions: int = Field(description="Mentions written.")
    n_mentions_by_type: dict[str, int] = Field(description="Mentions of each entity type.")
    n_mentions_by_provenance: dict[str, int] = Field(
        description="Mentions by how their offsets were obtained (see provenance in the mentions file)."
    )
    load_s: float | None = Field(
        default=None,
        description="Seconds of loading the model and computing what all prompts share, until the first "
        "process was ready. null in records of earlier versions.",
    )
    elapsed_s: float = Field(description="Seconds of annotating after that, until the output was written.")
    peak_memory_mb: tuple[float, ...] = Field(
        default=(),
        description="The most memory that each process has held that annotated, in MB; 0 if the system does "
        "not say.",
    )
    n_passes: int = Field(
        description="Forward passes, summed over sentences; one that two sentences share counts for both."
    )
    n_tokens: int = Field(description="Tokens that the model evaluated, summed over sentences.")
    legal_share: float | None = Field(
        description="Mean share of the model's probability that was on legal tokens where it decided, from 0 "
        "to 1: how little the constraint had to push. null if it never decided, or if that was not measured "
        "for every sentence (--legal-mass)."
    )
    effort: dict[str, int | float] = Field(
        description="Sums over sentences. n_passes, n_tokens: as above. n_decisions: tokens that the model "
        "decided. legal_mass: their shares of legal probability, added up. n_prompt_tokens: tokens of the "
        "prompts, the shared beginning included. n_windows: pieces that sentences were cut into to fit the "
        "context, 1 for a sentence that was not cut. n_verbatim: sentences whose answer without its tags "
        "is the sentence. n_doubtful: mentions left out because they, or their document, were not sure "
        "enough. n_turned: decisions that the lexicon turned. Of free answers, n_unfinished: those that hit "
        "their length limit; n_unknown_tags: what looks like a tag and is none; n_invented: names without a "
        "place in the sentence."
    )
    failures: tuple[tuple[str, str], ...] = Field(
        description="[sentence id, reason] of each sentence that failed. It has no mentions."
    )
    problems: tuple[tuple[str, str], ...] = Field(
        description="[sentence id, message] for each part of an answer that could not be used."
    )

    @model_validator(mode="before")
    @classmethod
    def _printable(cls, fields: Any) -> Any:
        """File names need not be UTF-8, but a record is."""
        return _shown_everywhere(fields)

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
            raise InputError(
                f"{path}: not the record of a run: {first_misfit(error, 'record')}\n"
                "llm-NERC writes the record of a run as OUTPUT.run.json, beside OUTPUT"
            ) from None


def _shown_everywhere(data: Any) -> Any:
    """Plain data with every string such that it can be written."""
    if isinstance(data, str):
        return shown(data)
    if isinstance(data, dict):
        return {_shown_everywhere(key): _shown_everywhere(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_shown_everywhere(value) for value in data]
    return data


class Totals:
    """What a record says of the sentences of a run, added up one by one."""

    def __init__(self) -> None:
        self._n_sentences = 0
        self._by_type: Counter[str] = Counter()
        self._by_provenance: Counter[str] = Counter()
        self._effort: dict[str, int | float] = {}
        self._has_legal_mass = True
        self._failures: list[tuple[str, str]] = []
        self._problems: list[tuple[str, str]] = []

    def add(self, result: SentenceResult) -> None:
        """Count one more sentence."""
        self._n_sentences += 1
        self._by_type.update(mention.type for mention in result.mentions)
        self._by_provenance.update(mention.provenance for mention in result.mentions)
        self._has_legal_mass &= "legal_mass" in result.effort or not result.effort.get("n_decisions")
        for name, figure in result.effort.items():
            self._effort[name] = self._effort.get(name, 0) + figure
        if result.failure is not None:
            self._failures.append((result.sentence_id, result.failure))
        self._problems += ((result.sentence_id, problem) for problem in result.problems)

    def fields(self) -> dict[str, Any]:
        """The sums, under the names of `RunRecord`."""
        n_decisions = self._effort.get("n_decisions", 0)
        effort = dict(self._effort)
        legal_mass = effort.pop("legal_mass", 0.0)
        if weighed := bool(n_decisions and self._has_legal_mass):
            effort["legal_mass"] = legal_mass
        return {
            "n_sentences": self._n_sentences,
            "n_mentions": self._by_type.total(),
            "n_mentions_by_type": dict(sorted(self._by_type.items())),
            "n_mentions_by_provenance": dict(sorted(self._by_provenance.items())),
            "n_passes": int(self._effort.get("n_passes", 0)),
            "n_tokens": int(self._effort.get("n_tokens", 0)),
            "legal_share": legal_mass / n_decisions if weighed else None,
            "effort": effort,
            "failures": tuple(self._failures),
            "problems": tuple(self._problems),
        }


def added_up(records: Sequence[RunRecord], **others: Any) -> RunRecord:
    """The record of a run that was done in parts, from the records of these, one at least.

    others: fields that are not sums, such as the input. What the parts agree on is taken from the first.
    """
    first = records[0]
    counts = (
        *("n_sentences", "n_texts", "n_resumed", "n_mentions", "n_mentions_by_type"),
        *("n_mentions_by_provenance", "n_passes", "n_tokens", "effort", "failures", "problems"),
    )
    n_decisions = [(record.effort.get("n_decisions", 0), record.legal_share) for record in records]
    shares = [(n, share) for n, share in n_decisions if n]
    measured = bool(shares) and all(share is not None for _, share in shares)
    n_all = sum(n for n, _ in shares)
    sums = {name: _sum([getattr(record, name) for record in records]) for name in counts}
    sums["legal_share"] = sum(n * (share or 0.0) for n, share in shares) / n_all if measured else None
    return first.model_copy(update={**sums, **others})


def _sum(values: Sequence[Any]) -> Any:
    """Numbers added, sequences joined, mappings added name by name; None if one is not known."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        names = sorted({name for value in values for name in value})
        return {name: sum(value.get(name, 0) for value in values) for name in names}
    if isinstance(values[0], tuple):
        return tuple(chain.from_iterable(values))
    return sum(values)


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
