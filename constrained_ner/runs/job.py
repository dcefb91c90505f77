"""A whole file, end to end: read, annotate into a journal, settle, write the outputs and the record.

input -> documents -> annotator -> journal -> settled within documents -> lines, mentions, record
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..annotation.about import About
from ..annotation.annotator import Annotator, Notify
from ..annotation.settings import Settings
from ..data import Document
from ..files import atomic_writer
from ..formats import writable
from ..formats.mentions import mentions_path, write_mentions
from ..formats.protocol import Format, Losses
from ..formats.writing import format_by_name, open_output
from .examples import with_examples
from .journal import Journal, SentenceResult, fingerprint
from .operating_point import FitPoint, PointRequest, with_point_request
from .outputs import check_outputs, finished_run, refuse_other_run
from .progress import ProgressDisplay
from .record import RunRecord, Totals, installed_versions, record_path
from .source import Input, Source
from .splits import earlier_test_run, note_test_run
from .stretches import stretches
from .team import Team, ThisProcess
from .workers import WorkerProcesses

OpenAnnotator = Callable[[Settings, Notify], AbstractContextManager[Annotator]]


def load_annotator(settings: Settings, notify: Notify) -> Annotator:
    """The annotator that the settings name."""
    return Annotator.load(settings=settings, notify=notify)


@contextmanager
def open_team(
    workers: WorkerProcesses | None,
    open_annotator: OpenAnnotator,
    settings: Settings,
    progress: ProgressDisplay,
    request: PointRequest | None = None,
) -> Iterator[tuple[Team, dict[str, Any]]]:
    """The worker processes, or the annotator of this process, with the model loaded, at its operating point.

    And what the record says about that point.
    """
    with ExitStack() as stack:
        told: dict[str, Any] = {}
        with progress.during(f"loading {settings.model or 'the bundled model'}"):
            if request is not None or workers is None:
                opened = stack.enter_context(open_annotator(settings, progress.note))
        if request is not None:
            with progress.during("fitting the operating point"):
                point, path = request.point(opened)
            progress.say(f"operating point: {point.summary()}")
            told = request.record(point, path)
            settings, opened = replace(settings, bias=point.bias), opened.biased(point.bias)
        if workers is None:
            yield ThisProcess(opened), told
        else:
            if request is not None:
                opened.close()
            with progress.during(f"loading {settings.model or 'the bundled model'}"):
                team = stack.enter_context(workers.open(settings, progress.note))
            yield team, told


def annotate_file(
    input: Input | Path,
    output: Path,
    settings: Settings | None = None,
    *,
    to: str | None = None,
    keep_finished: bool = False,
    overwrite: bool = False,
    open_annotator: OpenAnnotator = load_annotator,
    workers: WorkerProcesses | None = None,
    progress: ProgressDisplay | None = None,
    fit: FitPoint | None = None,
) -> RunRecord:
    """Annotate a file or folder of any format that can be read, and return the run's record.

    to: format of the output, a name in `formats.FORMATS`; None for what the output's name says.
    keep_finished: if an earlier run has finished this very job, return its record and do nothing.
    overwrite: replace files at `output` that this job has not written: other files, results of other runs.
    open_annotator: makes the annotator, once input and outputs are known to be usable. It is closed at the
        end. workers: processes that annotate instead, and write the same bytes.
    fit: fits an operating point, if the settings ask for one (`training.operating_point`).

    A sentence that fails is reported and has no mentions. A run that is interrupted goes on when it is
    started again with the same input, model and settings. Raises UserError.
    """
    input = Input(input) if isinstance(input, Path) else input
    settings = settings or Settings()
    progress = progress or ProgressDisplay(quiet=True)
    to = to or format_by_name(output)
    form = writable(to)

    check_outputs(input.path, output, settings, overwrite=overwrite, folder=form.write_folder is not None)
    with progress.during(f"reading {input.name}"):
        source = Source.check(input, progress.note)
    for path, why in source.skipped:
        progress.say(f"skipped {path}: {why}")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    shown = with_examples(settings, source.every_document, input.path, progress.note, input.example_types)
    shown, request = with_point_request(
        settings, shown, source.every_document, input.path, fit, progress.note, input.example_types
    )
    asked_s = time.perf_counter()
    with open_team(workers, open_annotator, shown, progress, request) as (team, point):
        load_s = round(time.perf_counter() - asked_s, 3)
        about = team.about
        run_fingerprint = fingerprint({**about.identity, "output": to}, source.texts_hash)
        if keep_finished and (finished := finished_run(output, run_fingerprint)):
            progress.say(f"{_counts(finished)}; this run has finished before")
            _report_failures(finished, progress)
            return finished
        if not overwrite:
            refuse_other_run(output, run_fingerprint)
        if source.split == "test":
            _warn_of_tuning(input.path, source.data_hash, run_fingerprint, progress)
        with Journal(output, run_fingerprint, progress.note) as journal:
            began_s = time.perf_counter()
            n_resumed = _annotate(team, source, journal, progress)
            header = {
                "started": started,
                "input": input.name,
                "output": str(output),
                "mentions": str(mentions_path(output)),
                "fingerprint": run_fingerprint,
                "options": {**about.choices, **_asked(settings), **point, "limit": input.limit, "to": to},
                "data_hash": source.data_hash,
                "split": source.split,
                "skipped_files": source.skipped,
                "schema_hash": about.identity["schema"],
                "prompt_hash": about.identity["prompt"],
                "model_hash": about.model_hash,
                "versions": installed_versions(),
                "n_texts": source.n_texts,
                "n_resumed": n_resumed,
                "load_s": load_s,
                "peak_memory_mb": team.peak_memory_mb,
            }
            losses = Losses()
            record = _write_outputs(
                _settled(source.documents(), journal, about), output, form, header, began_s, losses
            )
            journal.remove()
    losses.tell(str(output), to, progress.note)
    if source.split == "test" and (problem := note_test_run(source.data_hash, run_fingerprint, output)):
        progress.say(f"warning: {problem}")
    _summarise(record, progress)
    return record


_OF_EXAMPLES = ("shots", "select", "seed", "examples")


def _asked(settings: Settings) -> dict[str, Any]:
    """The settings that the annotator does not tell: how examples were chosen, paths as they were typed."""
    shows_examples = settings.examples is not None and settings.shots != 0
    asked = {name: getattr(settings, name) for name in _OF_EXAMPLES} if shows_examples else {"shots": 0}
    told = {"model", "schema", *settings.deciding(), *_OF_EXAMPLES}
    values = {
        field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in told
    }
    defaults = {field.name: field.default for field in fields(settings)}
    asked |= {name: value for name, value in values.items() if value != defaults[name]}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in asked.items()}
    return {name: v for name, v in plain.items() if v is None or isinstance(v, (str, int, float))}


def _annotate(team: Team, source: Source, journal: Journal, progress: ProgressDisplay) -> int:
    """Annotate into the journal what is not in it yet. Returns how many sentences need not be done again."""
    n_finished = len(journal)
    if n_finished:
        progress.say(f"resuming: {n_finished} sentences already done")
    left = stretches(source.sentences(), journal.find, proven=journal.proven)
    with progress.start(source.n_sentences, n_finished):
        for annotated in team.annotate(left, progress.within):
            if annotated.failure is not None:
                progress.say(f"sentence {annotated.sentence.id}: {annotated.failure}")
            journal.append(SentenceResult.of(annotated))
            progress.advance()
    return n_finished


def _settled(
    documents: Iterable[Document], journal: Journal, about: About
) -> Iterator[tuple[Document, list[SentenceResult]]]:
    """Each document with the results of its sentences, names made consistent if that is wanted."""
    for document in documents:
        found = list(journal.results(sentence.id for sentence in document))
        if about.consistency:
            found = _agreed(document, found, about)
        annotated = (s.with_mentions(r.found()) for s, r in zip(document, found, strict=True))
        yield replace(document, sentences=tuple(annotated)), found


def _agreed(document: Document, results: list[SentenceResult], about: About) -> list[SentenceResult]:
    """The results of a document that agree on each name. A sentence that failed stays empty."""
    pairs = zip(document, results, strict=True)
    agreed = iter(about.judge.agreed([s.with_mentions(r.found()) for s, r in pairs if r.failure is None]))
    return [result if result.failure is not None else result.settled(next(agreed)) for result in results]


def _write_outputs(
    results: Iterator[tuple[Document, list[SentenceResult]]],
    output: Path,
    form: Format,
    header: dict[str, Any],
    began_s: float,
    losses: Losses,
) -> RunRecord:
    """Write output, mentions and record in one pass over the results; the output is put in place last."""
    totals = Totals()
    with open_output(form, output, losses) as write, atomic_writer(mentions_path(output)) as mentions:

        def documents() -> Iterator[Document]:
            for document, found in results:
                for result in found:
                    totals.add(result)
                mentions.writelines(write_mentions([document], Losses()))
                yield document

        write(documents())
        elapsed_s = round(time.perf_counter() - began_s, 3)
        record = RunRecord(**header, **totals.fields(), elapsed_s=elapsed_s)
        record.save(record_path(output))
    return record


def _warn_of_tuning(input: Path, hash_of_data: str, run_fingerprint: str, progress: ProgressDisplay) -> None:
    earlier = earlier_test_run(hash_of_data, run_fingerprint)
    if earlier is not None:
        progress.say(
            f"warning: {input}: this test split was evaluated with other settings on {earlier.date} "
            f"({earlier.output}); choosing settings on a test set turns it into a development set"
        )


def _summarise(record: RunRecord, progress: ProgressDisplay) -> None:
    n_annotated = record.n_sentences - record.n_resumed
    by_type = ", ".join(f"{n} {name}" for name, n in record.n_mentions_by_type.items())
    progress.say(_counts(record) + (f" ({by_type})" if by_type else ""))
    loading = "" if record.load_s is None else f" (loading: {record.load_s:.1f} s)"
    speed = f", {n_annotated / record.elapsed_s:.1f} sentences/s" if record.elapsed_s else ""
    share = "" if record.legal_share is None else f", {record.legal_share:.1%} of probability on legal tokens"
    progress.say(
        f"{record.elapsed_s:.1f} s{loading}{speed}, "
        f"{record.n_passes / max(1, record.n_sentences):.2f} forward passes "
        f"and {record.n_tokens / max(1, record.n_sentences):.0f} tokens a sentence{share}"
    )
    _report_failures(record, progress)


def _counts(record: RunRecord) -> str:
    return f"{record.output}: {record.n_mentions} mentions in {record.n_sentences} sentences"


def _report_failures(record: RunRecord, progress: ProgressDisplay) -> None:
    if record.failures:
        progress.say(f"{len(record.failures)} sentences failed; {record_path(record.output)} names them")
