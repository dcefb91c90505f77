"""A whole file, end to end: read, annotate into a journal, settle, write the outputs and the record.

input -> documents -> annotator -> journal -> settled within documents -> lines, mentions, record
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from ..annotation.about import About
from ..annotation.annotator import Annotator, Notify
from ..annotation.settings import Settings
from ..data import Document, Sentence
from ..errors import InputError, OutputError
from ..files import atomic_writer, replaceable, require_writable
from ..formats.ddi import read_ddi
from ..formats.evaluator_lines import write_evaluator_lines
from ..formats.mentions import mentions_path
from .examples import with_examples
from .journal import Journal, SentenceResult, fingerprint, journal_path
from .progress import ProgressDisplay
from .record import RunRecord, Totals, installed_versions, record_path
from .splits import Split, data_hash, earlier_test_run, note_test_run, split_of
from .stretches import stretches
from .team import Team, ThisProcess
from .workers import WorkerProcesses

OpenAnnotator = Callable[[Settings, Notify], AbstractContextManager[Annotator]]


def _load(settings: Settings, notify: Notify) -> Annotator:
    return Annotator.load(settings=settings, notify=notify)


@contextmanager
def _team(
    workers: WorkerProcesses | None, open_annotator: OpenAnnotator, settings: Settings, notify: Notify
) -> Iterator[Team]:
    """The worker processes, or the annotator of this process."""
    if workers is not None:
        with workers.open(settings, notify) as team:
            yield team
    else:
        with open_annotator(settings, notify) as annotator:
            yield ThisProcess(annotator)


def annotate_file(
    input: Path,
    output: Path,
    settings: Settings | None = None,
    *,
    limit: int | None = None,
    split: Split | None = None,
    keep_finished: bool = False,
    open_annotator: OpenAnnotator = _load,
    workers: WorkerProcesses | None = None,
    progress: ProgressDisplay | None = None,
) -> RunRecord:
    """Annotate a DDI file or folder into evaluator lines, and return the run's record.

    limit: annotate only the first so many sentences. split: which split the input is, if it is not a known
        one. keep_finished: if an earlier run has finished this very job, return its record and do nothing.
    open_annotator: makes the annotator, once input and outputs are known to be usable. It is closed at the
        end. workers: processes that annotate instead, and write the same bytes.

    A sentence that fails is reported and has no lines. A run that is interrupted goes on when it is started
    again with the same input, model and settings. Raises UserError.
    """
    settings = settings or Settings()
    progress = progress or ProgressDisplay(quiet=True)

    def note(message: str) -> None:
        progress.say(f"note: {message}")

    source = _Source.read(input, limit, split)
    _check_outputs(input, output)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    shown = with_examples(settings, source.every, input, progress.say)
    with _team(workers, open_annotator, shown, note) as team:
        about = team.about
        print_of_run = fingerprint(about.identity, source.documents)
        if keep_finished and (finished := _finished(output, print_of_run)):
            return finished
        if source.split == "test":
            _warn_of_tuning(input, source.data_hash, print_of_run, progress)
        with Journal(output, print_of_run, note) as journal:
            began_s = time.perf_counter()
            n_resumed = _annotate(team, source.sentences, journal, progress)
            header = {
                "started": started,
                "input": str(input),
                "output": str(output),
                "mentions": str(mentions_path(output)),
                "fingerprint": print_of_run,
                "options": {**about.choices, **_asked(settings), "limit": limit},
                "data_hash": source.data_hash,
                "split": source.split,
                "schema_hash": about.identity["schema"],
                "prompt_hash": about.identity["prompt"],
                "model_hash": about.model_hash,
                "versions": installed_versions(),
                "n_resumed": n_resumed,
                "peak_memory_mb": team.peak_memory_mb,
            }
            results = journal.results(sentence.id for sentence in source.sentences)
            record = _write_outputs(_settled(results, source.documents, about), output, header, began_s)
            journal.remove()
    if source.split == "test" and (problem := note_test_run(source.data_hash, print_of_run, output)):
        progress.say(f"warning: {problem}")
    _summarise(record, progress)
    return record


@dataclass(frozen=True)
class _Source:
    """What is to be annotated. every: all documents of the input; documents: those within the limit."""

    every: list[Document]
    documents: list[Document]
    data_hash: str
    split: Split | None

    @classmethod
    def read(cls, input: Path, limit: int | None, split: Split | None) -> _Source:
        every = list(read_ddi(input))
        hash_of_data = data_hash(sentence for document in every for sentence in document)
        return cls(every, _first(every, limit), hash_of_data, split_of(hash_of_data, split, input))

    @cached_property
    def sentences(self) -> list[Sentence]:
        return [sentence for document in self.documents for sentence in document]


def _first(documents: list[Document], limit: int | None) -> list[Document]:
    """The documents, or what the first `limit` sentences leave of them."""
    if limit is None:
        return documents
    kept: list[Document] = []
    for document in documents:
        if limit <= 0:
            break
        kept.append(replace(document, sentences=document.sentences[:limit]))
        limit -= len(document.sentences)
    return kept


def _check_outputs(input: Path, output: Path) -> None:
    for path in (output, record_path(output), mentions_path(output)):
        require_writable(path)
    if output.exists() and input.exists() and output.samefile(input):
        raise OutputError(f"{output}: is the input; it would be overwritten")


def _finished(output: Path, print_of_run: str) -> RunRecord | None:
    """The record of a run with this fingerprint, if it has finished and its outputs are there."""
    try:
        record = RunRecord.load(record_path(output))
    except InputError:  # none, or not of this version: the run is made again
        return None
    # The record is written first, then mentions and output; then the journal goes.
    in_place = output.exists() and mentions_path(output).exists()
    whole = in_place and not journal_path(output).exists()
    return record if whole and record.fingerprint == print_of_run else None


def _asked(settings: Settings) -> dict[str, Any]:
    """What the annotator cannot tell: the prompt as it was named, and how the examples were chosen."""
    named = {"prompt": settings.prompt} if isinstance(settings.prompt, str) else {}
    if settings.shots == 0 or (settings.shots is None and settings.examples is None):
        return {**named, "shots": 0}
    chosen = {"shots": settings.shots, "select": settings.select, "seed": settings.seed}
    source = {"examples": str(settings.examples)} if isinstance(settings.examples, Path) else {}
    return {**named, **chosen, **source}


def _annotate(team: Team, sentences: list[Sentence], journal: Journal, progress: ProgressDisplay) -> int:
    """Annotate into the journal what is not in it yet. Returns how many sentences need not be done again."""
    left = stretches(sentences, {result.sentence_id: result for result in journal.finished})
    n_finished = len(sentences) - sum(len(stretch.sentences) for stretch in left)
    if n_finished:
        progress.say(f"resuming after {n_finished} sentences that an earlier run has done")
    with progress.start(len(sentences), n_finished):
        for annotated in team.annotate(left, progress.within):
            if annotated.failure is not None:
                progress.say(f"sentence {annotated.sentence.id}: {annotated.failure}")
            journal.append(SentenceResult.of(annotated))
            progress.advance()
    return n_finished


def _settled(
    results: Iterator[SentenceResult], documents: Iterable[Document], about: About
) -> Iterator[tuple[str, SentenceResult]]:
    """The results with the ids of their documents, names made consistent within each if that is wanted."""
    for document in documents:
        found = [result for _, result in zip(document, results, strict=False)]
        if about.consistency:
            found = _agreed(document, found, about)
        for result in found:
            yield document.id, result


def _agreed(document: Document, results: list[SentenceResult], about: About) -> list[SentenceResult]:
    """The results of a document that agree on each name. A sentence that failed stays empty."""
    pairs = zip(document, results, strict=True)
    agreed = iter(about.judge.agreed([s.with_mentions(r.found()) for s, r in pairs if r.failure is None]))
    return [result if result.failure is not None else result.settled(next(agreed)) for result in results]


def _write_outputs(
    results: Iterator[tuple[str, SentenceResult]], output: Path, header: dict[str, Any], began_s: float
) -> RunRecord:
    """Write output, mentions and record in one pass over the results; the output is put in place last."""
    totals = Totals()
    with atomic_writer(replaceable(output)) as lines, atomic_writer(mentions_path(output)) as mentions:

        def sentences() -> Iterator[tuple[str, Sentence]]:
            for document_id, result in results:
                totals.add(result)
                mentions.writelines(f"{mention.line()}\n" for mention in result.mentions)
                yield document_id, Sentence(result.sentence_id, "", tuple(result.found()))

        lines.writelines(write_evaluator_lines(sentences()))
        elapsed_s = round(time.perf_counter() - began_s, 3)
        record = RunRecord(**header, **totals.fields(), elapsed_s=elapsed_s)
        record.save(record_path(output))
    return record


def _warn_of_tuning(input: Path, hash_of_data: str, print_of_run: str, progress: ProgressDisplay) -> None:
    earlier = earlier_test_run(hash_of_data, print_of_run)
    if earlier is not None:
        progress.say(
            f"warning: {input}: this test split was evaluated with other settings on {earlier.date} "
            f"({earlier.output}); a test that settings are chosen on is no test any more"
        )


def _summarise(record: RunRecord, progress: ProgressDisplay) -> None:
    n_annotated = record.n_sentences - record.n_resumed
    by_type = ", ".join(f"{n} {name}" for name, n in record.n_mentions_by_type.items())
    progress.say(
        f"{record.output}: {record.n_mentions} mentions in {record.n_sentences} sentences"
        + (f" ({by_type})" if by_type else "")
    )
    speed = f", {n_annotated / record.elapsed_s:.1f} sentences/s" if record.elapsed_s else ""
    share = "" if record.legal_share is None else f", {record.legal_share:.1%} of probability on legal tokens"
    progress.say(
        f"{record.elapsed_s:.1f} s{speed}, {record.n_passes / max(1, record.n_sentences):.2f} forward passes "
        f"and {record.n_tokens / max(1, record.n_sentences):.0f} tokens a sentence{share}"
    )
    if record.failures:
        progress.say(f"{len(record.failures)} sentences failed; {record_path(record.output)} names them")
