"""A finished run with its figures: its record, and its output scored against the gold.

    (run,) = score_runs([Path("devel.out.run.json")])
    run.evaluation.micro.f1, run.seconds_per_sentence, run.verbatim_share

The output is looked for beside its record, so a folder of runs may be moved. The gold is the file that was
annotated, unless another one is given.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..data import Mention, Sentence
from ..errors import InputError
from ..evaluation import (
    ErrorAnalysis,
    Evaluation,
    Intervals,
    SentenceCounts,
    analyse_errors,
    bootstrap,
    evaluate,
    paired_difference,
)
from ..evaluation.official import unknown_types
from ..files import shown_path
from ..formats.documents import read_documents, read_found
from ..runs.record import RunRecord, record_path

RECORD_SUFFIX = ".run.json"


@dataclass(frozen=True)
class ScoredRun:
    """One run. Figures per sentence are means over the sentences of the run.

    name: short and unique within a report. path: of the record.
    gold: the sentences that the run annotated, with their gold mentions.
    predicted: the output, as pairs of sentence id and mention.
    """

    name: str
    path: Path
    record: RunRecord
    gold: tuple[Sentence, ...]
    predicted: tuple[tuple[str, Mention], ...]

    @cached_property
    def evaluation(self) -> Evaluation:
        return evaluate(self._gold_pairs(), self.predicted)

    @cached_property
    def errors(self) -> ErrorAnalysis:
        return analyse_errors(self._gold_pairs(), self.predicted)

    @cached_property
    def intervals(self) -> Intervals:
        """F1 with 95 % intervals, by bootstrap over sentences."""
        return bootstrap(self._counts)

    def difference_to(self, other: ScoredRun) -> Intervals | None:
        """F1 of this run minus F1 of the other, with 95 % intervals; None if their gold differs."""
        return paired_difference(self._counts, other._counts) if self.gold == other.gold else None

    @property
    def seconds_per_sentence(self) -> float | None:
        """Without the time to load the model. None if every sentence was taken over from an earlier run."""
        n_timed = self.record.n_sentences - self.record.n_resumed
        return self.record.elapsed_s / n_timed if n_timed > 0 else None

    @property
    def passes_per_sentence(self) -> float | None:
        """Forward passes of the model."""
        return self._per_sentence("n_passes")

    @property
    def prompt_tokens_per_sentence(self) -> float | None:
        """With the shared prefix. None if the record does not have it."""
        return self._per_sentence("n_prompt_tokens")

    @property
    def verbatim_share(self) -> float | None:
        """Share of sentences whose answer, without its tags, was the sentence."""
        return self._per_sentence("n_verbatim")

    def count(self, name: str) -> int | None:
        """A figure of the record's effort; None if the record does not have it."""
        figure = self.record.effort.get(name)
        return None if figure is None else int(figure)

    @cached_property
    def _counts(self) -> SentenceCounts:
        return SentenceCounts.of(self.gold, self.predicted)

    def _gold_pairs(self) -> Iterator[tuple[str, Mention]]:
        return ((sentence.id, mention) for sentence in self.gold for mention in sentence.mentions)

    def _per_sentence(self, name: str) -> float | None:
        figure = self.record.effort.get(name)
        return None if figure is None or not self.record.n_sentences else figure / self.record.n_sentences


def find_records(paths: Iterable[Path]) -> list[Path]:
    """The records at these paths, each once. A path is a record, an output beside its record, or a folder.

    Raises InputError for a folder without records.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if os.path.isdir(path):
            records = sorted(path.rglob(f"*{RECORD_SUFFIX}"))
            if not records:
                raise InputError(f"{path}: no *{RECORD_SUFFIX} in this folder")
        elif path.name.endswith(RECORD_SUFFIX) or not record_path(path).exists():
            records = [path]
        else:
            records = [record_path(path)]
        for record in records:
            found.setdefault(os.path.realpath(record), record)
    return list(found.values())


def score_runs(
    records: Iterable[Path], gold: Path | None = None, names: Sequence[str] | None = None
) -> list[ScoredRun]:
    """Score the runs of these records against the gold, by default the file that each run annotated.

    names: of the runs; by default those of their outputs, with folders in front where these are the same.
    Raises InputError if an output or the gold is missing, or does not belong to the run.
    """
    paths = list(records)
    gold_read: dict[Path, tuple[Sentence, ...]] = {}
    return [
        _score(name, path, gold, gold_read)
        for name, path in zip(names or _distinct_names(paths), paths, strict=True)
    ]


def _score(
    name: str, path: Path, gold: Path | None, gold_read: dict[Path, tuple[Sentence, ...]]
) -> ScoredRun:
    """Score one run. gold_read: gold file -> its sentences, to read each file once."""
    record = RunRecord.load(path)
    gold = gold or _beside(path, record.input, "its input", "pass the gold file with --gold")
    if gold not in gold_read:
        gold_read[gold] = _read_gold(gold, record)
    n_texts = record.n_sentences if record.n_texts is None else record.n_texts
    sentences = gold_read[gold][: record.options.get("limit") and n_texts]
    if len(sentences) != n_texts:
        raise InputError(f"{path}: the run annotated {n_texts} sentences, but {gold} has {len(sentences)}")
    predicted = tuple(read_found(_output_of(path, record), format=record.options.get("to")))
    known = {sentence.id for sentence in sentences}
    for sentence_id, _ in predicted:
        if sentence_id not in known:
            raise InputError(f"{path}: sentence {sentence_id!r:.80} of the run is not in {gold}")
    known_types = {mention.type for sentence in gold_read[gold] for mention in sentence.mentions}
    unknown = {mention.type for _, mention in predicted} - known_types
    # That gold lacks one of the types is ordinary; a type that is spelt differently is a mistake.
    if {name.casefold() for name in unknown} & {name.casefold() for name in known_types}:
        named = unknown_types(known_types, (mention.type for _, mention in predicted))
        warnings.warn(f"{path}: types that {gold} does not have: {named}", stacklevel=2)
    return ScoredRun(name, path, record, sentences, predicted)


def _read_gold(path: Path, record: RunRecord) -> tuple[Sentence, ...]:
    """The gold sentences, without the damaged files that the run had to skip."""

    def skip(file: Path, message: str) -> None:
        warnings.warn(f"skipped as in the run: {message}", stacklevel=2)

    documents = read_documents(path, on_damaged=skip if record.skipped_files else None)
    sentences = tuple(text for document in documents for text in document.texts())
    if not any(sentence.mentions for sentence in sentences):
        raise InputError(f"{path}: no entities to compare with; pass a gold file with --gold")
    return sentences


def _output_of(path: Path, record: RunRecord) -> Path:
    if path.name.endswith(RECORD_SUFFIX):
        beside = path.with_name(path.name.removesuffix(RECORD_SUFFIX))
        if beside.exists():
            return beside
    return _beside(path, record.output, "its output", "keep it beside the record")


def _beside(path: Path, name: str, what: str, advice: str) -> Path:
    """A file that a record names: at the path in the record, or beside the record if both were moved."""
    for candidate in (shown_path(name), shown_path(str(path.parent / Path(name).name))):
        if candidate.exists():
            return candidate
    raise InputError(f"{path}: {what} {name} does not exist; {advice}")


def _stem(path: Path) -> str:
    return path.name.removesuffix(RECORD_SUFFIX).removesuffix(".out") or path.name


def _distinct_names(paths: list[Path]) -> list[str]:
    """Short names, with as many folders in front as needed to tell the paths apart.

    Example: a/devel.out.run.json, b/devel.out.run.json -> a/devel, b/devel
    """
    folders = [path.parent.parts for path in paths]
    for n_folders in range(max(map(len, folders), default=0) + 1):
        names = [
            "/".join((*above[max(0, len(above) - n_folders) :], _stem(path)))
            for above, path in zip(folders, paths, strict=True)
        ]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
