"""Sentence ids that are unique in a whole input, made from ids that are unique only in their file.

p1.xml and p2.xml, each with s1 and s2  ->  p1/s1, p1/s2, p2/s1, p2/s2
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..files import shown
from .offset_ends import RawDocument, RawFile


def with_unique_ids(files: Sequence[RawFile], path: Path, notify: Callable[[str], None]) -> Sequence[RawFile]:
    """The files with sentence ids that name one sentence each.

    If an id repeats, all ids are qualified: by their file if that is enough, else by document, or both.
    Raises InputError for an id that occurs twice in one document.
    """
    repeated = _first_repeated(files)
    if repeated is None:
        return files
    sentence_id, file, earlier = repeated
    names = _file_names(files, path)
    qualifications: list[tuple[str, Callable[[RawFile, RawDocument], str]]] = [
        ("file", lambda file, _: names[file.path]),
        ("document", lambda _, document: document.id),
        ("file and document", lambda file, document: f"{names[file.path]}/{document.id}"),
    ]
    for by, prefix in qualifications:
        qualified = [_qualified(file, prefix) for file in files]
        if _first_repeated(qualified) is None:
            example = next(s.id for f in qualified for d in f.documents for s in d.sentences)
            notify(
                f"{path}: sentence id {sentence_id!r:.80} and others repeat in other files or documents; all "
                f"ids are qualified by their {by} (first: {example!r:.80})"
            )
            return qualified
    elsewhere = "" if earlier == file else f", first used in {earlier}"
    raise InputError(f"{file}: duplicate sentence id {sentence_id!r}{elsewhere}")


def _first_repeated(files: Sequence[RawFile]) -> tuple[str, Path, Path] | None:
    """The first id that occurs twice, the file where it does, and the file where it was first."""
    seen: dict[str, Path] = {}
    for file in files:
        for document in file.documents:
            for sentence in document.sentences:
                if sentence.id in seen:
                    return sentence.id, file.path, seen[sentence.id]
                seen[sentence.id] = file.path
    return None


def _file_names(files: Sequence[RawFile], path: Path) -> dict[Path, str]:
    """Each file's place in the input without its suffix, or with it where two would be the same."""
    places = {file.path: file.path.relative_to(path) if file.path != path else file.path for file in files}
    stems = Counter(place.with_suffix("") for place in places.values())
    return {
        file: _one_line(
            shown((place if stems[place.with_suffix("")] > 1 else place.with_suffix("")).as_posix())
        )
        for file, place in places.items()
    }


def _qualified(file: RawFile, prefix: Callable[[RawFile, RawDocument], str]) -> RawFile:
    documents = [
        document._replace(
            sentences=[
                sentence._replace(id=f"{_one_line(prefix(file, document))}/{sentence.id}")
                for sentence in document.sentences
            ]
        )
        for document in file.documents
    ]
    return replace(file, documents=documents)


def _one_line(name: str) -> str:
    """The name without what evaluator lines do not allow in an id."""
    return re.sub(r"[|\r\n]", "_", name)
