"""What a run has done so far, on disk: one line a sentence, so that whatever ends the run loses nothing.

    with Journal(out, fingerprint) as journal:
        for annotated in annotate(the sentences of which journal.find(id) is None):
            journal.append(SentenceResult.of(annotated))
        ... write the outputs from journal.results(ids) ...
        journal.remove()

Results come in any order and are read in that of the input; only their places in the file are in memory.
The next run with the same fingerprint goes on after the last whole line. The journal of another run is never
overwritten: it is kept beside, and named.
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
from ..data import Mention, Sentence
from ..errors import OutputError
from ..files import output_errors, replaceable, require_writable
from ..formats.mentions import MentionRecord

_VERSION = 5


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


def fingerprint(deciding: Mapping[str, Any], texts_hash: str) -> str:
    """A hash of all that decides the output of a run: what can change an answer, and the texts.

    deciding: plain data, in any order, with models, prompts and schemas as hashes (`Annotator.identity`).
    texts_hash: of the sentences, in order.
    """
    return hashlib.sha256(f"{json.dumps(deciding, sort_keys=True)}\n{texts_hash}".encode()).hexdigest()


class Journal:
    """The results so far, beside `out` as `out.journal`. Close it, or use it in a `with` block.

    proven: whether a sentence has been annotated without failing.
    notify: called if the journal of another run had to be moved out of the way.
    Raises OutputError at once if `out` cannot be written, or if another run is writing it.
    """

    def __init__(self, out: str | Path, fingerprint: str, notify: Callable[[str], None]) -> None:
        require_writable(out)
        self.path = journal_path(out)
        self._header = json.dumps({"journal": _VERSION, "fingerprint": fingerprint}).encode() + b"\n"
        self._places: dict[int, int] = {}  # hash of a sentence's id -> where its last line begins
        self.proven = False
        self._open()
        try:
            n_bytes, n_unread = self._read()
            if n_unread:
                kept = self._keep_aside(n_bytes)
                about = (
                    f"has {n_unread} results that cannot be read: kept as {kept.name}; they are made again"
                    if self._places
                    else "belongs to a run with other settings or sentences, or of another version: kept as "
                    f"{kept.name}; this run starts from the beginning"
                )
                notify(f"{self.path.name} {about}")
            self._is_empty = not self._places
        except BaseException:
            self._file.close()
            raise

    def append(self, result: SentenceResult) -> None:
        """Add a sentence's result; it is out of this process's hands when the call returns."""
        at = self._file.seek(0, os.SEEK_END)
        self._write(_line(result))
        self._note(result, at)
        self._is_empty = False

    def find(self, sentence_id: str) -> SentenceResult | None:
        """The result of a sentence, from the disk; the last one if there are several."""
        at = self._places.get(hash(sentence_id))
        if at is None:
            return None
        if self._file.tell() != at:
            self._file.seek(at)
        return SentenceResult.model_validate_json(self._file.readline())

    def results(self, sentence_ids: Iterable[str]) -> Iterator[SentenceResult]:
        """The results of these sentences, in this order. Each must be there."""
        for sentence_id in sentence_ids:
            result = self.find(sentence_id)
            assert result is not None
            assert result.sentence_id == sentence_id
            yield result

    def __len__(self) -> int:
        """The number of sentences that have a result."""
        return len(self._places)

    def _note(self, result: SentenceResult, at: int) -> None:
        self._places[hash(result.sentence_id)] = at
        self.proven |= result.failure is None

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

    def _read(self) -> tuple[int, int]:
        """Find the results at the file's start. Returns where they end, and how many whole lines follow.

        What is not a whole line at the end is cut off: the write of the last result was interrupted.
        """
        n_unread = 0
        with output_errors(self.path):
            self._file.seek(0)
            header = self._file.readline()
            n_bytes = len(header) if header == self._header else 0
            n_whole = len(header)
            for line in self._file:
                if not line.endswith(b"\n"):
                    break
                result = None if n_unread or not n_bytes else _parsed(line)
                if result is None:
                    n_unread += 1
                else:
                    self._note(result, n_whole)
                    n_bytes = n_whole + len(line)
                n_whole += len(line)
            if not n_unread:
                self._file.truncate(n_bytes)
        if not n_bytes and not n_unread:
            self._write(self._header)
        return n_bytes, n_unread

    def _keep_aside(self, n_bytes: int) -> Path:
        """Move the file out of the way, and go on in a new one that begins with the same bytes.

        Returns the old file.
        """
        numbered = (self.path.with_name(f"{self.path.name}.{n}") for n in range(1, sys.maxsize))
        kept = next(path for path in numbered if not path.exists())
        with output_errors(self.path):
            if sys.platform == "win32":  # which does not rename an open file
                self._file.close()
            os.rename(self.path, kept)
            self._file.close()
        self._open()
        if not n_bytes:
            self._write(self._header)
        with output_errors(kept), kept.open("rb") as old:
            while n_bytes and (piece := old.read(min(n_bytes, 1 << 20))):
                n_bytes -= len(piece)
                self._write(piece)
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
