"""The record of a run: what was asked, with what, and what came of it. Written beside the output as JSON."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
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
"""The distributions whose version may matter to a result."""


class RunRecord(BaseModel):
    """One run, as it stands in `out.run.json`.

    fingerprint: of options and sentences (see `journal.fingerprint`); runs with the same one have the same
        output. None in records of earlier versions.
    mentions: the file that says more of each mention than the output can (see `mentions`).
    options: all that was chosen, as plain data.
    data_hash, split: what was evaluated (see `protocol`); None where the split is neither known nor stated.
    n_resumed: sentences taken over from an earlier, interrupted run; elapsed_s does not cover them.
    legal_share: mean share of the model's probability that was legal where it decided; None if it never did.
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
    n_passes: int
    n_tokens: int
    legal_share: float | None
    effort: dict[str, int | float]
    failures: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]

    @classmethod
    def of(
        cls,
        results: Iterable[SentenceResult],
        *,
        started: str,
        input: str | Path,
        output: str | Path,
        options: dict[str, Any],
        data_hash: str | None = None,
        split: Split | None = None,
        schema_hash: str,
        prompt_hash: str,
        model_hash: str | None,
        elapsed_s: float,
        mentions: str | Path | None = None,
        fingerprint: str | None = None,
        n_resumed: int = 0,
    ) -> RunRecord:
        """The record of a finished run; its figures are summed over the results."""
        n_sentences = 0
        by_type: Counter[str] = Counter()
        by_provenance: Counter[str] = Counter()
        effort: dict[str, int | float] = {}
        failures: list[tuple[str, str]] = []
        problems: list[tuple[str, str]] = []
        for result in results:
            n_sentences += 1
            by_type.update(result.by_type)
            by_provenance.update(result.by_provenance)
            for name, figure in result.effort.items():
                effort[name] = effort.get(name, 0) + figure
            if result.failure is not None:
                failures.append((result.sentence_id, result.failure))
            problems += ((result.sentence_id, problem) for problem in result.problems)
        n_decisions = effort.get("n_decisions", 0)
        return cls(
            started=started,
            input=str(input),
            output=str(output),
            mentions=None if mentions is None else str(mentions),
            fingerprint=fingerprint,
            options=options,
            data_hash=data_hash,
            split=split,
            schema_hash=schema_hash,
            prompt_hash=prompt_hash,
            model_hash=model_hash,
            versions=installed_versions(),
            n_sentences=n_sentences,
            n_resumed=n_resumed,
            n_mentions=sum(by_type.values()),
            n_mentions_by_type=dict(sorted(by_type.items())),
            n_mentions_by_provenance=dict(sorted(by_provenance.items())),
            elapsed_s=elapsed_s,
            n_passes=int(effort.get("n_passes", 0)),
            n_tokens=int(effort.get("n_tokens", 0)),
            legal_share=effort.get("legal_mass", 0) / n_decisions if n_decisions else None,
            effort=effort,
            failures=tuple(failures),
            problems=tuple(problems),
        )

    def save(self, path: str | Path) -> None:
        """Write the record as indented JSON, atomically. Raises OutputError."""
        write_atomically(Path(path), [self.model_dump_json(indent=2), "\n"])

    @classmethod
    def load(cls, path: str | Path) -> RunRecord:
        """Read a record; InputError says what does not fit. Fields that this version lacks are left out."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise InputError(f"{path}: not the record of a run: {first_misfit(error, 'record')}") from None


def record_path(out: str | Path) -> Path:
    """Where the record of a run stands. Example: "results/out" -> results/out.run.json"""
    out = Path(out)
    return out.with_name(out.name + ".run.json")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the installed LIBRARIES, none of which is imported."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
