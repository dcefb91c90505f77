"""The operating point of a run: what it is fitted on, and where it is kept so that it is fitted once.

Fitting needs `training`, which this package must not import: a command hands in `fit_operating_point`. A
fitted point is kept in the user's cache folder, under the hash of all that it depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator
from ..annotation.operating_point import OperatingPoint, hash_of_text, hashes_of, is_file, what_it_fits
from ..annotation.settings import Settings
from ..data import Document, Sentence
from ..errors import InputError, ModelError, OutputError, UserError
from ..files import cache_folder
from ..prompting.examples.by_similarity import SimilarExamples
from ..text.corpus import read_labelled
from .held_out import held_out
from .splits import TRIVIAL_LENGTH, keep_apart, text_key

FitPoint = Callable[[Annotator, str, Sequence[Sentence]], OperatingPoint]
"""`training.operating_point.fit_operating_point`."""

Notify = Callable[[str], None]
VERSION = 1
"""Of the way in which points are fitted: with another one, stored points are fitted again."""


@dataclass(frozen=True)
class PointRequest:
    """An operating point that a run wants.

    asked: a method, or a file. labelled: sentences to fit on, neither shown nor evaluated.
    """

    asked: str
    labelled: tuple[Sentence, ...]
    fit: FitPoint | None
    notify: Notify

    def point(self, annotator: Annotator) -> tuple[OperatingPoint, Path | None]:
        """The point, from its file, from the cache, or fitted now; and the file that holds it."""
        fits = what_it_fits(annotator.identity())
        if is_file(self.asked):
            path = Path(self.asked)
            point = OperatingPoint.load(path)
            if point.fits != fits and not annotator.settings.force:
                raise ModelError(
                    f"{path}: fitted for another model, prompt, examples or settings than those of this run; "
                    "pass --force to use it anyway"
                )
            return point, path
        return self._cached(annotator, fits)

    def _cached(self, annotator: Annotator, fits: str) -> tuple[OperatingPoint, Path | None]:
        key = [VERSION, self.asked, fits, hashes_of(self.labelled)]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
        path = cache_path(name)
        if path is not None and path.is_file():
            try:
                return OperatingPoint.load(path), path
            except InputError:  # damaged, or of another version
                pass
        if self.fit is None:
            raise UserError(f"--operating-point {self.asked}: nothing here can fit one; name a file")
        point = self.fit(annotator, self.asked, self.labelled)
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                point.save(path)
        except (OSError, OutputError) as error:
            self.notify(f"the operating point is not kept for the next run: {error}")
            return point, None
        return point, path

    def record(self, point: OperatingPoint, path: Path | None) -> dict[str, Any]:
        """The entries of the run record."""
        return {
            "operating_point": self.asked,
            "operating_point_file": None if path is None else str(path),
            "fitted_on": [sentence_id for sentence_id, _ in point.fitted_on],
        }


def cache_path(name: str) -> Path | None:
    """Where the point of this name is kept; None for a user without a home folder."""
    try:
        return cache_folder() / "operating-points" / f"{name}.json"
    except RuntimeError:
        return None


def with_point_request(
    asked: Settings,
    shown: Settings,
    evaluated: Callable[[], Sequence[Document]],
    evaluated_path: Path,
    fit: FitPoint | None,
    notify: Notify,
    types: Mapping[str, str] | None = None,
    labelled: Path | None = None,
) -> tuple[Settings, PointRequest | None]:
    """The settings to open the annotator with, and the operating point that it is to get.

    asked: as the user gave them. shown: with the examples themselves. labelled: what is fitted on; None for
    a part of the examples' file. What similar examples are chosen from is left without the documents that are
    fitted on; fixed examples stay as they are.
    Raises InputError if the evaluated file is among what was or would be fitted on, UserError if there is
    nothing to fit on.
    """
    method = asked.operating_point
    if method is None:
        return shown, None
    bare = replace(shown, operating_point=None)
    chosen: list[Sentence] = []
    if is_file(method):
        _refuse_evaluated(OperatingPoint.load(Path(method)), evaluated(), method, evaluated_path)
    elif method != "content-free":
        path = labelled or asked.examples
        if not isinstance(path, Path):
            raise UserError(
                f"--operating-point {method} needs labelled sentences: name a file with --examples"
            )
        chosen, bare = _hold_out(path, bare, evaluated(), evaluated_path, notify, types)
    return bare, PointRequest(method, tuple(chosen), fit, notify)


def _hold_out(
    path: Path,
    shown: Settings,
    evaluated: Sequence[Document],
    evaluated_path: Path,
    notify: Notify,
    types: Mapping[str, str] | None,
) -> tuple[list[Sentence], Settings]:
    documents = read_labelled(path, notify=lambda _: None, types=types)
    usable = keep_apart(
        [sentence for document in documents for sentence in document],
        (sentence for document in evaluated for sentence in document),
        used_path=path,
        evaluated_path=evaluated_path,
        purpose="fitting",
    )
    examples = shown.examples
    fixed = () if callable(examples) or examples is None or isinstance(examples, Path) else examples
    chosen = held_out(documents, {sentence.id for sentence in usable}, fixed, shown.fit, shown.seed)
    if len(chosen) < shown.fit:
        notify(f"{path}: only {len(chosen)} of {shown.fit} sentences are left to fit on")
    if isinstance(examples, SimilarExamples):
        ids = {sentence.id for sentence in chosen}
        taken = {document.id for document in documents if any(sentence.id in ids for sentence in document)}
        pool = examples.pool.without_documents(taken)
        shown = replace(shown, examples=SimilarExamples(pool, examples.n, evaluated))
    return chosen, shown


def _refuse_evaluated(
    point: OperatingPoint, evaluated: Sequence[Document], path: str, evaluated_path: Path
) -> None:
    """Raise InputError if a sentence that the point was fitted on is evaluated, by its id or longer text."""
    sentences = [sentence for document in evaluated for sentence in document]
    ids = {sentence.id for sentence in sentences}
    texts = {hash_of_text(s.text) for s in sentences if len(text_key(s.text)) >= TRIVIAL_LENGTH}
    for sentence_id, text in point.fitted_on:
        if sentence_id in ids or text in texts:
            raise InputError(
                f"{path}: fitted on sentence {sentence_id}, which is also in {evaluated_path}: what is "
                "evaluated cannot be used for fitting"
            )
