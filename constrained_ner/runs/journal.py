"""What a run has done so far, on disk: one line a sentence, so that whatever ends the run loses nothing.

    with Journal(out, fingerprint) as journal:
        for annotated in annotate(what journal.finished lacks):
            journal.append(SentenceResult.of(annotated))
        ... write the outputs from journal.results(ids) ...
        journal.remove()

Results come in any order and are read in that of the input. The next run with the same fingerprint goes
on after the last whole line. The journal of another run is never overwritten: it is kept beside,
and named.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..annotation.result import Annotated
from ..data import Document, Mention, Sentence
from ..errors import OutputError
from ..files import output_errors, replaceable, require_writable
from ..formats.mentions import MentionRecord

_VERSION = 4


class SentenceResult(BaseModel):
    """What a run keeps of one sentence. Everything else (lines, counts, records) is derived from it.

    effort: figures that add up over sentences, such as n_passes and n_tokens.
    failure: why the sentence has no mentions; None if all went well.
    problems: parts of an answer that could not be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sentence_id: str
    mentions: tuple[MentionRecord, ...] = ()
    effort: dict[str, int | float] = {}
    failure: str | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, annotated: Annotated) -> SentenceResult:
        sentence = annotated.sentence
        return cls(
            sentence_id=sentence.id,
            mentions=tuple(MentionRecord.of(sentence.id, mention) for mention in sentence.mentions),
            effort={**annotated.effort.figures(), "n_verbatim": int(annotated.verbatim)},
            failure=annotated.failure,
            problems=annotated.problems,
        )

    def settled(self, sentence: Sentence) -> SentenceResult:
        """The result with the mentions that the sentence has now; those that are gone count as doubtful."""
        places = {mention.spans for mention in sentence.mentions}
        n_gone = sum(mention.spans not in places for mention in self.found())
        return self.model_copy(
            update={
                "mentions": tuple(MentionRecord.of(self.sentence_id, m) for m in sentence.mentions),
                "effort": {**self.effort, "n_doubtful": self.effort.get("n_doubtful", 0) + n_gone},
            }
        )

    def found(self) -> list[Mention]:
        """The mentions, figures rounded as they are written."""
        return [record.mention() for record in self.mentions]


def fingerprint(deciding: Mapping[str, Any], documents: Iterable[Document]) -> str:
    """A hash of all that decides the output of a run: what can change an answer, and the texts.

    deciding: plain data, in any order, with models, prompts and schemas as hashes (`Annotator.identity`).
    """
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode())
    for document in documents:
        texts = [(sentence.id, sentence.text) for sentence in document]
        digest.update(json.dumps([document.id, texts]).encode())
    return digest.hexdigest()


class Journal:
    """The results so far, beside `out` as `out.journal`. Close it, or use it in a `with` block.

    finished: the results of an earlier run with the same fingerprint, in the order of the file.
    notify: called if the journal of another run had to be moved out of the way.
    Raises OutputError at once if `out` cannot be written, or if another run is writing it.
    """

    def __init__(self, out: str | Path, fingerprint: str, notify: Callable[[str], None]) -> None:
        require_writable(out)
        self.path = journal_path(out)
        self._header = json.dumps({"journal": _VERSION, "fingerprint": fingerprint}).encode() + b"\n"
        self._open()
        try:
            self.finished, n_unread = self._read()
            if n_unread:
                kept = self._keep_aside(self.finished)
                about = (
                    f"has {n_unread} results that cannot be read: kept as {kept.name}; they are made again"
                    if self.finished
                    else "belongs to a run with other settings or sentences, or of another version: kept as "
                    f"{kept.name}; this run starts from the beginning"
                )
                notify(f"{self.path.name} {about}")
            self._is_empty = not self.finished
        except BaseException:
            self._file.close()
            raise

    def append(self, result: SentenceResult) -> None:
        """Add a sentence's result; it is out of this process's hands when the call returns."""
        self._write(_line(result))
        self._is_empty = False

    def results(self, sentence_ids: Iterable[str]) -> Iterator[SentenceResult]:
        """The results of these sentences, in this order, from the disk; the last one if there are several."""
        places = self._places()
        at = -1
        for sentence_id in sentence_ids:
            if at != places[sentence_id]:
                at = self._file.seek(places[sentence_id])
            line = self._file.readline()
            at += len(line)
            yield SentenceResult.model_validate_json(line)

    def _places(self) -> dict[str, int]:
        """Where each sentence's line begins."""
        places: dict[str, int] = {}
        self._file.seek(0)
        at = len(self._file.readline())
        for line in self._file:
            places[json.loads(line)["sentence_id"]] = at
            at += len(line)
        return places

    def remove(self) -> None:
        """Delete the journal: the outputs are in place."""
        with output_errors(self.path):
            if sys.platform == "win32":  # which does not delete an open file
                self._file.close()
            self.path.unlink(missing_ok=True)  # before the lock goes: the next run must not open this file
            self._file.close()

    def close(self) -> None:
        """Close the file. An unfinished journal stays for the next run if there is anything in it."""
        if self._file.closed:
            return
        if self._is_empty:
            self.remove()
        with output_errors(self.path):  # a full disk refuses what is still in the buffer, too
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        """Open the file and lock it; again if another run has removed it in between."""
        while True:
            with output_errors(self.path):
                self._file = self.path.open("a+b")
                self._lock()
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):
                        return
                self._file.close()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(f"{self.path}: in use: another run is writing the same output") from None
        except OSError:
            pass  # a file system without locks

    def _write(self, line: bytes) -> None:
        with output_errors(self.path):
            self._file.write(line)
            self._file.flush()

    def _read(self) -> tuple[tuple[SentenceResult, ...], int]:
        """The results at the file's start, and the number of whole lines after them that cannot be used.

        What is not a whole line at the end is cut off: the write of the last result was interrupted.
        """
        results: list[SentenceResult] = []
        n_unread = 0
        with output_errors(self.path):
            self._file.seek(0)
            header = self._file.readline()
            n_bytes = len(header) if header == self._header else 0
            n_whole = len(header)
            for line in self._file:
                if not line.endswith(b"\n"):
                    break
                n_whole += len(line)
                result = None if n_unread or not n_bytes else _parsed(line)
                if result is None:
                    n_unread += 1
                else:
                    results.append(result)
                    n_bytes = n_whole
            if not n_unread:
                self._file.truncate(n_bytes)
        if not n_bytes and not n_unread:
            self._write(self._header)
        return tuple(results), n_unread

    def _keep_aside(self, results: Iterable[SentenceResult]) -> Path:
        """Move the file out of the way and continue in a new one with these results. Returns the old one."""
        numbered = (self.path.with_name(f"{self.path.name}.{n}") for n in range(1, sys.maxsize))
        kept = next(path for path in numbered if not path.exists())
        with output_errors(self.path):
            if sys.platform == "win32":  # which does not rename an open file
                self._file.close()
            os.rename(self.path, kept)
            self._file.close()
        self._open()
        self._write(self._header)
        for result in results:
            self._write(_line(result))
        return kept


def _line(result: SentenceResult) -> bytes:
    return json.dumps(result.model_dump()).encode() + b"\n"


def _parsed(line: bytes) -> SentenceResult | None:
    try:
        return SentenceResult.model_validate_json(line)
    except ValidationError:
        return None


def journal_path(out: str | Path) -> Path:
    """The journal of an unfinished run. Example: "results/out" -> results/out.journal"""
    out = replaceable(out)
    return out.with_name(out.name + ".journal")
