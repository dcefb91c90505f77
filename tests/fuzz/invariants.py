"""What must hold for any input, however spoiled: it is read as valid documents or refused in clear words, and
whatever was read can be written in every format, read again and written again as the same file."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from constrained_ner.data import Document, Mention, Sentence
from constrained_ner.errors import DamagedFilesError, InputError, UserError
from constrained_ner.files import decoded
from constrained_ner.formats import FORMATS
from constrained_ner.formats.documents import format_of, read_documents, read_found
from constrained_ner.formats.protocol import Losses, Reading
from constrained_ner.formats.writing import open_output
from constrained_ner.text.sentences import cut_document

CPU_LIMIT_S = 20.0
"""Of one step (reading, or one writer) on one input of at most 2 MB."""

_LONGEST_TO_WRITE = 200_000  # characters of an input that all writers are tried on
_MOST_NOTES = 20  # of one input; damaged records are reported each
_READ_AS = {"doccano": "jsonl", "label-studio": "jsonl"}
_RESULTS = ("lines", "mentions", "csv")


T = TypeVar("T")


class Fault(Exception):  # noqa: N818
    """An invariant that does not hold. kind: the same for all cases of one fault."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(f"{kind}: {details}")
        self.kind = kind


class _TooLong(BaseException):
    """Raised by the signal; no reader may catch it."""


FOR_EYES = ("html",)
WRITABLE = tuple(
    name
    for name, form in FORMATS.items()
    if (form.write or form.write_bytes or form.write_folder) and name not in FOR_EYES
)


def check(folder: Path, path: Path, write: Sequence[str] = WRITABLE) -> str:
    """Read an input (a file or folder in `folder`), and write it in these formats.

    Returns "read" or "refused". Raises Fault.
    """
    messages: list[str] = []
    documents = _read(path, messages)
    if documents is None:
        return "refused"
    if sum(len(s.text) for d in documents for s in d) <= _LONGEST_TO_WRITE:
        for name in write:
            with _only_user_errors(f"writing {name}"):
                _written_and_read(folder, name, documents)
    return "read"


def check_results(folder: Path, path: Path) -> str:
    """Read a file of mentions without texts. Returns "read" or "refused". Raises Fault."""
    messages: list[str] = []
    with _only_user_errors("reading results"):
        try:
            found = read_found(path, reading=Reading(notify=messages.append, report_damaged=messages.append))
        except UserError as error:
            _check_message("error", str(error).partition("\n")[0], path)  # a hint may follow
            return "refused"
    for message in messages:
        _check_message("note", message, path)
    for id, mention in found:
        _check_mention("results", mention, None)
        _check_string("results", id)
    return "read"


# ---- reading


def _read(path: Path, messages: list[str]) -> list[Document] | None:
    """The documents; None if the input is refused as it should be."""
    reading = Reading(notify=messages.append, report_damaged=lambda message: damaged.append(message))
    damaged: list[str] = []
    with _only_user_errors("reading"):
        try:
            documents = list(read_documents(path, reading=reading))
        except DamagedFilesError as error:
            for line in str(error).split("\n  "):
                _check_message("error", line, path)
            return None
        except UserError as error:
            _check_message("error", str(error), path)
            return None
    for message in [*messages, *damaged]:
        _check_message("note", message, path)
    if len(messages) > _MOST_NOTES:
        raise Fault("too many notes", f"{len(messages)}, such as {messages[-1]!r}")
    _check_documents(documents)
    _check_texts_are_the_files(path, documents)
    return documents


def _check_message(what: str, message: str, path: Path) -> None:
    names = {file.name for file in path.rglob("*")} | {path.name} if path.is_dir() else {path.name}
    if not any(name in message for name in {*names, *(Path(name).stem + ".txt" for name in names)}):
        raise Fault(f"{what} does not name the file", repr(message))
    without_names = message.replace(str(path), "")
    for name in sorted(names, key=len, reverse=True):
        without_names = without_names.replace(name, "").replace(Path(name).stem, "")
    if not without_names.isprintable():
        raise Fault(f"{what} is not one line of printable text", repr(message))
    if len(without_names) > 600:
        raise Fault(f"{what} is long", repr(message))


def _check_documents(documents: list[Document]) -> None:
    ids = [document.id for document in documents if not document.continues]
    if len(set(ids)) < len(ids):
        raise Fault("document ids repeat", repr(ids[:20]))
    named = [text.id for document in documents if not document.continues for text in document.texts()]
    if len(set(named)) < len(named):
        raise Fault("ids of texts repeat", repr(named[:20]))
    for id in named:
        if any(character in id for character in "|\r\n"):
            raise Fault("an id ends in evaluator lines", repr(id))
    for document in documents:
        _check_string("document id", document.id)
        if document.text is not None:
            _check_string("document text", document.text)
        end = 0
        for sentence in document:
            _check_string("sentence id", sentence.id)
            _check_string("sentence text", sentence.text)
            for mention in sentence.mentions:
                _check_mention("reading", mention, sentence)
            if document.text is not None:
                there = document.text[sentence.start : sentence.start + len(sentence.text)]
                if there != sentence.text or sentence.start < end:
                    raise Fault(
                        "a passage is not where it says", repr((sentence.start, sentence.text, there))[:500]
                    )
                end = sentence.start + len(sentence.text)


def _check_mention(what: str, mention: Mention, sentence: Sentence | None) -> None:
    if not mention.spans or (sentence is not None and mention.end > len(sentence.text)):
        raise Fault(f"{what}: a mention outside of its text", repr(mention)[:500])
    for before, after in zip(mention.spans, mention.spans[1:], strict=False):
        if after.start < before.end:
            raise Fault(f"{what}: spans of a mention are not in order", repr(mention)[:500])
    _check_string("mention text", mention.text)
    _check_string("mention type", mention.type)
    if not mention.type:
        raise Fault(f"{what}: a mention has an empty type", repr(mention)[:500])
    for value in (mention.confidence, mention.score):
        if value is not None and not 0 <= value <= 1:
            raise Fault(f"{what}: a confidence is no probability", repr(mention)[:500])


def _check_string(what: str, value: str) -> None:
    if not isinstance(value, str):
        raise Fault(f"{what} is no text", repr(value)[:200])
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(f"{what} cannot be encoded", repr(value)[:200]) from None


def _check_texts_are_the_files(path: Path, documents: list[Document]) -> None:
    format = format_of(path)
    if format not in ("text", "brat"):
        return
    texts = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    texts = [file.with_suffix(".txt") for file in texts]
    if len(texts) == 1 and "".join(d.text or "" for d in documents) != decoded(texts[0]):
        raise Fault("the text is not the file's", repr([d.text for d in documents])[:500])


# ---- writing


def _written_and_read(folder: Path, name: str, documents: list[Document]) -> None:
    form = FORMATS[name]
    documents = [_without_repeats(document) for document in documents]
    if form.in_sentences:
        documents = [cut_document(document, keep_mentions=True) for document in documents]
    first = _written(folder, f"first-{name}", name, documents)
    if not any(sentence.text for document in documents for sentence in document):
        return
    if name in _RESULTS:
        expected = sorted((id, m.start, m.end) for d in documents for id, m in d.located())
        found = sorted(
            (id, m.start, m.end) for id, m in _read_back(lambda: read_found(first, format=name), name)
        )
        if name != "csv" and found != expected:
            raise Fault(
                f"writing {name}: mentions change",
                repr([e for e in zip(expected, found, strict=False) if e[0] != e[1]][:3]),
            )
        return
    back = first / "tasks.json" if name == "label-studio" else first
    if form.write_folder is None and not back.stat().st_size:
        return
    reading = Reading(notify=lambda _: None, report_damaged=_refuse)
    again = _read_back(
        lambda: list(read_documents(back, format=_READ_AS.get(name, name), reading=reading)), name
    )
    second = _written(folder, f"second-{name}", name, again)
    one, other = _contents(first), _contents(second)
    if one != other:
        differing = next(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
        before, after = (contents.get(differing, b"") for contents in (one, other))
        same = (n for n, (b, a) in enumerate(zip(before, after, strict=False)) if b != a)
        at = max(0, next(same, min(len(before), len(after))) - 100)
        details = f"{differing}: byte {at}: {before[at : at + 300]!r}\nthen {after[at : at + 300]!r}"
        raise Fault(f"writing {name} again gives another file", details)


def _without_repeats(document: Document) -> Document:
    """The document with one of the mentions of a span and type: some formats cannot tell two apart."""
    sentences = (s.with_mentions({(m.spans, m.type): m for m in s.mentions}.values()) for s in document)
    return replace(document, sentences=tuple(sentences))


def _read_back(read: Callable[[], T], name: str) -> T:
    try:
        return read()
    except InputError as error:
        raise Fault(f"writing {name}: what was written is not read", str(error)) from None


def _refuse(message: str) -> None:
    raise InputError(message)


def _written(folder: Path, output: str, format: str, documents: list[Document]) -> Path:
    """The file or folder that was written. Raises Fault if something else is."""
    before = _below(folder)
    path = folder / output
    with open_output(format, path, Losses()) as write:
        write(iter(documents))
    new = _below(folder) - before
    if not all(file == path or path in file.parents for file in new) or not path.exists():
        raise Fault(f"writing {format}: files elsewhere", repr(new))
    return path


def _below(folder: Path) -> set[Path]:
    return set(folder.parent.glob("*")) | set(folder.rglob("*"))


def _contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {"" if file == path else file.name: file.read_bytes() for file in files}


# ---- only what is raised on purpose, in time


@contextmanager
def _only_user_errors(step: str) -> Iterator[None]:
    """Makes faults of other errors, of warnings and of a step that takes too long."""
    try:
        with warnings.catch_warnings(), _time_limit():
            warnings.simplefilter("error")
            yield
    except Fault:
        raise
    except (_TooLong, MemoryError) as error:
        raise Fault(f"{step}: {type(error).__name__.strip('_')} in {_place(error)}", "") from None
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        details = "".join(traceback.format_exception(error, limit=-6))
        raise Fault(
            f"{step}: {type(error).__name__} in {_place(error)}", f"{error!r:.300}\n{details[:3000]}"
        ) from None


def _place(error: BaseException) -> str:
    """The innermost function of the package that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/constrained_ner/" in frame.filename]
    return f"{Path(ours[-1].filename).name}: {ours[-1].name}" if ours else "the check itself"


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
