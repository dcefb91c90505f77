"""Safe writing: results go line by line to a journal and become the output file in one step at the end.

    with Journal(out, fingerprint(options, sentences)) as journal:
        for result in annotate(sentences[len(journal.finished):]):
            journal.append(result)
        journal.finish()

The mentions, with what the lines have no room for, become `out.mentions.jsonl` beside it (see `mentions`).
Whatever ends the run early, `out` is either untouched or whole. The next run with the same fingerprint goes
on after the last whole line of the journal and writes the same bytes; one with another starts afresh.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..data import Sentence
from ..errors import OutputError
from ..files import output_errors, replaceable, require_writable, write_atomically
from ..formats.mentions import MentionRecord, mentions_path


class SentenceResult(BaseModel):
    """What a run keeps of one sentence.

    lines: the output lines, without line ends. mentions: the same, with all that is known of each.
    by_type, by_provenance: numbers of mentions.
    effort: figures that add up over sentences, such as n_passes and n_tokens.
    failure: why the sentence has no mentions, None if all went well.
    problems: parts of an answer that could not be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sentence_id: str
    lines: tuple[str, ...] = ()
    mentions: tuple[MentionRecord, ...] = ()
    by_type: dict[str, int] = {}
    by_provenance: dict[str, int] = {}
    effort: dict[str, int | float] = {}
    failure: str | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        sentence: Sentence,
        lines: Iterable[str],
        *,
        effort: Mapping[str, int | float] | None = None,
        failure: str | None = None,
        problems: Iterable[str] = (),
    ) -> SentenceResult:
        """The result of an annotated sentence: its mentions are counted here."""
        return cls(
            sentence_id=sentence.id,
            lines=tuple(lines),
            mentions=tuple(MentionRecord.of(sentence.id, mention) for mention in sentence.mentions),
            by_type=Counter(m.type for m in sentence.mentions),
            by_provenance=Counter(m.provenance for m in sentence.mentions),
            effort=dict(effort or {}),
            failure=failure,
            problems=tuple(problems),
        )


def fingerprint(options: Mapping[str, Any], sentences: Iterable[Sentence]) -> str:
    """A hash of all that decides the output: the options, in any order, and the sentences' ids and texts.

    The options must be plain data and tell models, prompts and schemas apart by their hashes.
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
    for sentence in sentences:
        digest.update(json.dumps([sentence.id, sentence.text]).encode())
    return digest.hexdigest()


Settle = Callable[[Iterable[SentenceResult]], Iterator[SentenceResult]]


class Journal:
    """The results so far, on disk beside `out` as `out.journal`; close it, or use it in a `with`.

    Raises OutputError at once if `out` cannot be written or another run is writing it.
    """

    def __init__(self, out: str | Path, fingerprint: str) -> None:
        require_writable(out)
        self.out = replaceable(out)
        self._mentions = replaceable(mentions_path(out))
        self.path = journal_path(self.out)
        with output_errors(self.path):
            self._file = self.path.open("a+b")
        try:
            self._lock()
            self.finished: tuple[SentenceResult, ...] = self._resume(fingerprint)
            self._is_empty = not self.finished
        except BaseException:
            self._file.close()
            raise

    def append(self, result: SentenceResult) -> None:
        """Add the next sentence's result; it is out of this process's hands when the call returns."""
        self._write(result.model_dump())
        self._is_empty = False

    def results(self) -> Iterator[SentenceResult]:
        """Every result so far, in order, from the disk."""
        self._file.seek(0)
        self._file.readline()
        for line in self._file:
            yield SentenceResult.model_validate_json(line)

    def finish(self, settle: Settle = iter) -> None:
        """Put mentions and output in place, the output last, and remove the journal.

        settle: what becomes of the results once all are there.
        """
        lines = (f"{mention.line()}\n" for result in settle(self.results()) for mention in result.mentions)
        write_atomically(self._mentions, lines)
        write_atomically(
            self.out, (f"{line}\n" for result in settle(self.results()) for line in result.lines)
        )
        self._remove()
        self.close()

    def close(self) -> None:
        """Let go of the file; an unfinished journal stays for the next run if there is anything in it."""
        if self._is_empty and not self._file.closed:
            self._remove()
        with output_errors(self.path):  # a full disk refuses what is still in the buffer, too
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _remove(self) -> None:
        with output_errors(self.path):
            self.path.unlink(missing_ok=True)

    def _write(self, content: dict[str, Any]) -> None:
        with output_errors(self.path):
            self._file.write(json.dumps(content).encode() + b"\n")
            self._file.flush()

    def _resume(self, fingerprint: str) -> tuple[SentenceResult, ...]:
        """The whole results of an earlier run with this fingerprint; the file is cut after the last one."""
        header = {"journal": 2, "fingerprint": fingerprint}
        results: list[SentenceResult] = []
        with output_errors(self.path):
            self._file.seek(0)
            first = self._file.readline()
            n_bytes = len(first) if first == json.dumps(header).encode() + b"\n" else 0
            for line in self._file if n_bytes else ():
                if not line.endswith(b"\n"):
                    break
                try:
                    results.append(SentenceResult.model_validate_json(line))
                except ValidationError:  # a disk may lose what a process has written
                    break
                n_bytes += len(line)
            self._file.truncate(n_bytes)
        if not n_bytes:
            self._write(header)
        return tuple(results)

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{self.out}: another run is writing it ({self.path.name} is in use)") from None
        except OSError:
            pass  # a file system without locks


def journal_path(out: str | Path) -> Path:
    """Where the journal of an unfinished run stands. Example: "results/out" -> results/out.journal"""
    out = replaceable(out)
    return out.with_name(out.name + ".journal")
