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

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
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
            effort={**asdict(annotated.effort), "n_verbatim": int(annotated.verbatim)},
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
    notify: told if the journal of another run had to be moved out of the way.
    Raises OutputError at once if `out` cannot be written, or if another run is writing it.
    """

    def __init__(self, out: str | Path, fingerprint: str, notify: Callable[[str], None]) -> None:
        require_writable(out)
        self.path = journal_path(out)
        self._header = json.dumps({"journal": _VERSION, "fingerprint": fingerprint}).encode() + b"\n"
        self._open()
        try:
            if kept := self._keep_aside():
                notify(
                    f"{self.path.name} was written by another run, with other settings or sentences: kept as "
                    f"{kept.name}; this run starts from the beginning"
                )
            self.finished: tuple[SentenceResult, ...] = self._resume()
            self._is_empty = not self.finished
        except BaseException:
            self._file.close()
            raise

    def append(self, result: SentenceResult) -> None:
        """Add a sentence's result; it is out of this process's hands when the call returns."""
        self._write(json.dumps(result.model_dump()).encode() + b"\n")
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
            self._file.close()
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file. An unfinished journal stays for the next run if there is anything in it."""
        if self._file.closed:
            return
        with output_errors(self.path):  # a full disk refuses what is still in the buffer, too
            self._file.close()
            if self._is_empty:
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        with output_errors(self.path):
            self._file = self.path.open("a+b")
        self._lock()

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

    def _keep_aside(self) -> Path | None:
        """Move a journal that belongs to another run and holds results; returns where it is now."""
        with output_errors(self.path):
            self._file.seek(0)
            if self._file.readline() == self._header or not self._file.readline():
                return None
            numbered = (self.path.with_name(f"{self.path.name}.{n}") for n in range(1, sys.maxsize))
            kept = next(path for path in numbered if not path.exists())
            self._file.close()  # Windows does not rename an open file
            os.rename(self.path, kept)
        self._open()
        return kept

    def _resume(self) -> tuple[SentenceResult, ...]:
        """The whole results in the file, which is cut after the last of them."""
        results: list[SentenceResult] = []
        with output_errors(self.path):
            self._file.seek(0)
            first = self._file.readline()
            n_bytes = len(first) if first == self._header else 0
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
            self._write(self._header)
        return tuple(results)


def journal_path(out: str | Path) -> Path:
    """The journal of an unfinished run. Example: "results/out" -> results/out.journal"""
    out = replaceable(out)
    return out.with_name(out.name + ".journal")
