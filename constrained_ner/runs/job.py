"""A whole file, end to end: read, annotate, keep a journal, put the output in place, leave a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator
from ..annotation.result import Annotated
from ..data import INEXACT, Document, Sentence
from ..errors import InputError, OutputError
from ..files import require_writable
from ..formats.ddi import evaluator_lines, read_ddi
from ..formats.mentions import mentions_path
from ..prompting.examples import examples_hash
from .journal import Journal, SentenceResult, Settle, fingerprint, journal_path
from .progress import Progress
from .record import RunRecord, record_path
from .splits import Split, data_hash, earlier_test_run, note_test_run, split_of


def annotate_file(
    input: Path,
    output: Path,
    load: Callable[[], AbstractContextManager[Annotator]],
    *,
    limit: int | None = None,
    strict: bool = False,
    keep_finished: bool = False,
    consistency: bool | None = None,
    split: Split | None = None,
    choices: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunRecord:
    """Annotate a DDI file or folder into evaluator lines, and return the run's record.

    load: makes the annotator, which is closed in the end; called when input and output are known to be
        usable. To keep it open, wrap it: `lambda: contextlib.nullcontext(annotator)`.
    limit: annotate the first so many sentences alone.
    strict: drop mentions whose offsets were not exact, with a note in the record.
    consistency: make names consistent within each document (see `consistency`); None does so where mentions
        have a confidence.
    keep_finished: where an earlier run has finished this very job, return its record and do nothing.
    split: which split the file is, if it is not one of those that are known.
    choices: what else the record shall say was chosen, such as how the examples were.

    A sentence that fails is reported and has no lines. A run that is stopped goes on from where it was when
    it is started again with the same input, model and options. Raises UserError.
    """
    progress = progress or Progress(quiet=True)
    documents = read_ddi(input)
    every = [sentence for document in documents for sentence in document]
    hash_of_data = data_hash(every)
    split = split_of(hash_of_data, split, input)
    sentences = every[:limit]
    require_writable(output)
    require_writable(record_path(output))
    require_writable(mentions_path(output))
    if output.exists() and input.exists() and output.samefile(input):
        raise OutputError(f"{output}: is the input; it would be overwritten")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with load() as annotator:
        model = annotator.backend.description
        if consistency is None:
            consistency = annotator.knows_confidence
        options = {
            **options_of(annotator),
            **(choices or {}),
            "limit": limit,
            "strict": strict,
            "consistency": consistency,
        }
        same_run = {**options, "model": {**model, "path": None}}  # a model may be moved
        print_of_run = fingerprint(same_run, sentences)
        if keep_finished and (finished := _finished(output, print_of_run)):
            return finished
        if split == "test":
            _warn_of_tuning(input, hash_of_data, print_of_run, progress)
        with Journal(output, print_of_run) as journal:
            n_resumed = len(journal.finished)
            if n_resumed:
                progress.say(f"going on after {n_resumed} sentences that an earlier run has done")
                _remember(annotator, sentences, journal)
            began_s = time.perf_counter()
            rest = annotator.run(sentences[n_resumed:], doubtful=consistency)
            _write_into(journal, rest, strict, progress, len(sentences), n_resumed)
            settle: Settle = (
                partial(_agreed, documents=documents, annotator=annotator) if consistency else iter
            )
            record = RunRecord.of(
                settle(journal.results()),
                started=started,
                input=input,
                output=output,
                mentions=mentions_path(output),
                fingerprint=print_of_run,
                options=options,
                data_hash=hash_of_data,
                split=split,
                schema_hash=annotator.schema.hash(),
                prompt_hash=annotator.prompt.hash(),
                model_hash=model.get("sha256") or model.get("commit"),  # a hub's model has a commit
                elapsed_s=round(time.perf_counter() - began_s, 3),
                n_resumed=n_resumed,
            )
            record.save(record_path(output))
            journal.finish(settle)
    if split == "test" and (problem := note_test_run(hash_of_data, print_of_run, output)):
        progress.say(f"warning: {problem}")
    _summarise(record, progress)
    return record


def _finished(output: Path, print_of_run: str) -> RunRecord | None:
    """The record beside an output file that a run with this fingerprint has put in place."""
    try:
        record = RunRecord.load(record_path(output))
    except InputError:  # none, or not of this version: the run is made again
        return None
    # The record is written first, then mentions and output, then the journal goes.
    in_place = output.exists() and mentions_path(output).exists()
    whole = in_place and not journal_path(output).exists()
    return record if whole and record.fingerprint == print_of_run else None


def _warn_of_tuning(input: Path, hash_of_data: str, print_of_run: str, progress: Progress) -> None:
    earlier = earlier_test_run(hash_of_data, print_of_run)
    if earlier is not None:
        progress.say(
            f"warning: {input}: this test split was evaluated with other options on {earlier.date} "
            f"({earlier.output}); a test that options are chosen by is no test any more"
        )


def _remember(annotator: Annotator, sentences: Sequence[Sentence], journal: Journal) -> None:
    """Put the annotator where the earlier run was, so that drafts, and with them roundings, are the same."""
    for sentence, result in zip(sentences, journal.finished, strict=False):
        if result.failure is None:
            annotator.remember(sentence.with_mentions(m.mention() for m in result.mentions))


def options_of(annotator: Annotator) -> dict[str, Any]:
    """All that was chosen, as plain data: what has to be equal for two runs to give the same output."""
    return {
        "model": annotator.backend.description,
        "schema": annotator.schema.name,
        "schema_hash": annotator.schema.hash(),
        "prompt": annotator.prompt.name,
        "prompt_hash": annotator.prompt.hash(),
        "instructions": annotator.instructions,
        "max_prompt_tokens": annotator.max_prompt_tokens,
        **_examples_of(annotator),
        "decoder": annotator.decoder,
        "rule": annotator.rule,
        "engine": annotator.engine,
        "boundary": annotator.boundary,
        "min_confidence": annotator.min_confidence,
        "bias": annotator.bias,
        "temperature": annotator.backend.temperature,
        "context_length": annotator.backend.context_length,
    }


def _examples_of(annotator: Annotator) -> dict[str, Any]:
    """What was shown: the ids, unless each sentence had examples of its own."""
    examples = annotator.examples
    if callable(examples):
        return {"examples_hash": examples.hash()}
    return {"example_ids": [example.id for example in examples], "examples_hash": examples_hash(examples)}


def _write_into(
    journal: Journal,
    results: Iterable[Annotated],
    strict: bool,
    progress: Progress,
    n_total: int,
    n_resumed: int,
) -> None:
    with progress.start(n_total, n_resumed):
        for annotated in results:
            if strict:
                annotated = _exact_alone(annotated)
            if annotated.failure is not None:
                progress.say(f"sentence {annotated.sentence.id}: {annotated.failure}")
            journal.append(
                SentenceResult.of(
                    annotated.sentence,
                    evaluator_lines(annotated.sentence),
                    effort={**asdict(annotated.effort), "n_verbatim": int(annotated.verbatim)},
                    failure=annotated.failure,
                    problems=annotated.problems,
                )
            )
            progress.advance()


def _agreed(
    results: Iterable[SentenceResult], documents: Iterable[Document], annotator: Annotator
) -> Iterator[SentenceResult]:
    """The results with names made consistent within each document; a sentence that failed stays empty."""
    results = iter(results)
    for document in documents:
        pairs = list(zip(document, results, strict=False))
        found = [s.with_mentions(m.mention() for m in r.mentions) for s, r in pairs if r.failure is None]
        agreed = iter(annotator.agreed(found))
        for _, result in pairs:
            yield result if result.failure is not None else _replaced(result, next(agreed))


def _replaced(result: SentenceResult, sentence: Sentence) -> SentenceResult:
    """The result with other mentions; those that are gone count as doubtful."""
    places = {m.spans for m in sentence.mentions}
    n_gone = sum(m.mention().spans not in places for m in result.mentions)
    effort = {**result.effort, "n_doubtful": result.effort.get("n_doubtful", 0) + n_gone}
    return SentenceResult.of(sentence, evaluator_lines(sentence), effort=effort, problems=result.problems)


def _exact_alone(annotated: Annotated) -> Annotated:
    """The result without mentions whose offsets are a guess, each named among the problems."""
    mentions = annotated.sentence.mentions
    dropped = tuple(
        f"{m.text!r} ({m.type}): {m.provenance} offsets refused by --strict"
        for m in mentions
        if m.provenance in INEXACT
    )
    kept = annotated.sentence.with_mentions(m for m in mentions if m.provenance not in INEXACT)
    return replace(annotated, sentence=kept, problems=annotated.problems + dropped)


def _summarise(record: RunRecord, progress: Progress) -> None:
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
        f"a sentence, {record.n_tokens / max(1, record.n_sentences):.0f} tokens evaluated for it{share}"
    )
    if record.failures:
        progress.say(f"{len(record.failures)} sentences failed; {record_path(record.output)} names them")
