"""A grid of runs whose settings differ in a few fields, and the table of what each difference is worth.

    arms = grid(Settings(examples=Path("train.xml")), constrained=[True, False], shots=[0, 5])
    outcome = run_grid(arms, input, folder)
    print(outcome.comparison.table(options=False).text())

Each arm is a run of its own in the folder: NAME.out, its mentions and its record. Finished arms with the same
settings are kept, an interrupted arm is resumed, and one that fails does not lose the others. The back end of
a model is opened once for all of its arms. Every arm decodes greedily.
"""

from __future__ import annotations

import contextlib
import json
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, product
from pathlib import Path
from typing import Any, Literal

from ..annotation.annotator import Annotator, Backend, Notify
from ..annotation.settings import Settings
from ..errors import InputError, OutputError, UserError
from ..files import require_writable, write_atomically
from ..formats.csv_cells import csv_text
from ..formats.documents import read_documents
from ..formats.protocol import Reading
from ..runs.job import annotate_file
from ..runs.operating_point import FitPoint
from ..runs.progress import ProgressDisplay
from ..runs.record import record_path
from ..runs.source import Input
from ..runs.splits import Split
from ..runs.team import worker_processes
from ..runs.worker import Open, load
from .comparison import Comparison
from .scored_run import score_runs

TABLE = "ablation"
"""The name of the table's files, without their suffixes."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One run of a grid. chosen: the fields that the grid is about, with this arm's values."""

    name: str
    settings: Settings
    chosen: dict[str, Any]


def grid(settings: Settings, **values: Sequence[Any]) -> list[Arm]:
    """Every combination of values of these fields, once, the first field slowest; arms of a model together.

    Combinations that come to the same are one arm: without examples there is nothing to select, without a
    constraint there is no engine or decoder, and engines other than the native one decode stepwise.
    Arms differ in what is compared and in nothing else: consistency and least confidence are off, and the
    lexicon, unless it is one of the fields.

    Example: grid(Settings(examples=path), shots=[0, 5], select=["a", "b"]) -> shots 0; 5 and a; 5 and b
    """
    settings = replace(settings, consistency=False, min_confidence=0.0, lexicon="none")
    fields = sorted(values, key=lambda name: name != "model")
    variants: list[dict[str, Any]] = []
    for combination in product(*(values[name] for name in fields)):
        variant = _simplified(dict(zip(fields, combination, strict=True)), settings)
        if variant not in variants:
            variants.append(variant)
    names = _names(variants)
    return [
        Arm(name, _with(settings, variant), variant) for name, variant in zip(names, variants, strict=True)
    ]


def _with(settings: Settings, variant: dict[str, Any]) -> Settings:
    return replace(settings, **{name: value for name, value in variant.items() if value is not None})


def _simplified(variant: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The variant without what has no effect in it."""
    if not variant.get("shots", settings.shots) and "select" in variant:
        variant["select"] = None
    if not variant.get("constrained", settings.constrained):
        own = ("engine", "decoder", "operating_point", "lexicon")
        variant |= {name: None for name in own if name in variant}
    elif variant.get("engine", settings.engine) != "native":
        variant["decoder"] = "stepwise"
        variant |= {name: None for name in ("operating_point", "lexicon") if name in variant}
    return variant


def _names(variants: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each variant, made of what varies, that can be a file's.

    Example: constrained or not, 0 or 5 shots -> constrained-0-shots, unconstrained-0-shots, ...
    """
    names: list[str] = []
    for variant in variants:
        parts = [part for part in _name_parts(variant, variants) if part]
        plain = re.sub(r"[^\w.+-]+", "_", "-".join(parts)).strip("._") or "run"
        numbered = (plain, *(f"{plain}.{n}" for n in range(2, len(variants) + 2)))
        names.append(next(name for name in numbered if name not in names))
    return names


def _name_parts(variant: dict[str, Any], variants: Sequence[dict[str, Any]]) -> Iterator[str]:
    def varies(name: str) -> bool:
        return len({repr(v[name]) for v in variants if v.get(name) is not None}) > 1

    if varies("model"):
        yield _stem(variant["model"], "bundled")
    if varies("constrained") or varies("decoder") or len(variants) == 1:
        free = variant.get("constrained") is False
        yield "unconstrained" if free else variant["decoder"] if varies("decoder") else "constrained"
    if varies("engine"):
        yield variant["engine"] or "native"
    if varies("prompt"):
        yield _stem(variant["prompt"], "plain")
    if varies("shots"):
        yield f"{variant['shots']}-shots"
    if variant.get("operating_point") and len({v.get("operating_point") for v in variants}) > 1:
        yield f"point-{_stem(variant['operating_point'], '')}"
    for name in sorted(variant.keys() - _NAMED):
        if varies(name):
            yield "" if variant[name] is None else f"{name}-{variant[name]}"
    if varies("select"):
        yield variant["select"] or ""


_NAMED = {"model", "constrained", "decoder", "engine", "prompt", "shots", "select", "operating_point"}


def _stem(name: str | None, default: str) -> str:
    return Path(name).stem if name else default


@dataclass(frozen=True)
class Outcome:
    """What became of a grid. records: arm -> the run's record. failed: arm -> why it has none."""

    input: Path
    records: dict[Arm, Path]
    failed: dict[Arm, str]

    @cached_property
    def comparison(self) -> Comparison:
        """The runs that there are, in the order of the grid, compared with the first of them."""
        names = [arm.name for arm in self.records]
        return Comparison.of(score_runs(self.records.values(), self.input, names), all_measures=True)

    def save(self, folder: Path) -> None:
        """Write the table beside the runs, as Markdown, as CSV and as JSON. Raises OutputError."""
        rows = list(self._plain())
        failed = {arm.name: message for arm, message in self.failed.items()}
        content = {"input": self.input.name, "arms": rows, "failed": failed}
        texts = {
            "md": self.comparison.table(options=False).markdown(),
            "csv": _csv(rows),
            "json": json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n",
        }
        for suffix, text in texts.items():
            write_atomically(folder / f"{TABLE}.{suffix}", [text])

    def _plain(self) -> Iterator[dict[str, Any]]:
        """Each arm as plain data: its name, what it chose, its figures."""
        for arm, measures in zip(self.records, self.comparison.measures, strict=True):
            figures = {
                key: {"value": m.value} | ({} if m.low is None else {"low": m.low, "high": m.high})
                for key, m in measures.items()
            }
            yield {"name": arm.name, **arm.chosen, "measures": figures}


def run_grid(
    arms: Iterable[Arm],
    input: Path,
    folder: Path,
    *,
    limit: int | None = None,
    split: Split | None = None,
    overwrite: bool = False,
    open_annotator: Open = load,
    workers: int | Literal["auto"] = 1,
    progress: ProgressDisplay | None = None,
    fit: FitPoint | None = None,
) -> Outcome:
    """Run what is not finished yet, and return where everything is.

    split: which split the input is, if it is not a known one. overwrite: replace results of other settings;
    finished arms are kept all the same. open_annotator: makes an arm's annotator, over the back end that
    another arm of the same model has opened, if any. workers: processes that annotate; they import
    `open_annotator`, so it must be a function of a module then. fit: fits the arms' operating points
    (`training.operating_point`).
    Raises UserError if no arm could run: input without gold, a folder that cannot be written.
    """
    progress = progress or ProgressDisplay(quiet=True)
    reading = Reading(notify=progress.note, report_damaged=progress.note)
    if not any(s.mentions for document in read_documents(input, reading=reading) for s in document):
        raise InputError(f"{input}: has no entities to compare the answers with")
    _make_folder(folder)
    arms = list(arms)
    records: dict[Arm, Path] = {}
    failed: dict[Arm, str] = {}
    by_model = groupby(arms, key=lambda arm: (arm.settings.model, arm.settings.model_options()))
    for (model, _), of_model in by_model:
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(worker_processes(workers, model, open_annotator))
            shared = _SharedBackend(open_annotator, stack)
            for arm in of_model:
                out = folder / f"{arm.name}.out"
                progress.say(f"arm {len(records) + len(failed) + 1} of {len(arms)}: {arm.name}")
                try:
                    annotate_file(
                        Input(input, limit=limit, split=split),
                        out,
                        arm.settings,
                        to="lines",
                        keep_finished=True,
                        overwrite=overwrite,
                        open_annotator=shared.open,
                        workers=pool,
                        progress=progress,
                        fit=fit,
                    )
                except UserError as error:
                    failed[arm] = str(error)
                except Exception as error:  # a night's grid must not be lost to one arm
                    failed[arm] = _unexpected(error, folder / f"{arm.name}.traceback")
                else:
                    records[arm] = record_path(out)
                if arm in failed:
                    progress.say(f"arm {arm.name} failed: {failed[arm]}")
    if not records:
        name, message = next((arm.name, message) for arm, message in failed.items())
        raise UserError(f"no arm could run: {name}: {message}")
    return Outcome(input, records, failed)


class _SharedBackend:
    """The back end of one model: opened by the first arm that gets that far, closed with the stack."""

    def __init__(self, open_annotator: Open, stack: contextlib.ExitStack) -> None:
        self._open, self._stack = open_annotator, stack
        self._backend: Backend | None = None

    def open(self, settings: Settings, notify: Notify) -> contextlib.AbstractContextManager[Annotator]:
        annotator = self._open(settings, self._backend, notify)
        if self._backend is None:
            self._backend = annotator.backend
            self._stack.callback(annotator.close)
        return contextlib.nullcontext(annotator)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from None
    require_writable(folder / f"{TABLE}.json")


def _unexpected(error: Exception, path: Path) -> str:
    """A line for an error that is not the user's; the traceback goes to a file."""
    write_atomically(path, traceback.format_exception(error))
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split()):.200} (see {path.name})"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each arm: what it chose, then each figure, with its interval in columns of their own."""
    flat = [_flat(row) for row in rows]
    header = list(dict.fromkeys(name for row in flat for name in row))
    return csv_text(header, [[row.get(name) for name in header] for row in flat])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    figures = {
        key if part == "value" else f"{key}_{part}": number
        for key, figure in row["measures"].items()
        for part, number in figure.items()
    }
    return {name: value for name, value in row.items() if name != "measures"} | figures
