"""A grid of runs that differ in one thing at a time, and the table of what each thing is worth.

    arms = grid(constrained=[True, False], shots=[0, 5, 15], selects=["random", "similar"])
    outcome = run_grid(arms, input, folder, open_arm)
    print(outcome.comparison.table(options=False).text())

Each arm is a run of its own in the folder: NAME.out, its mentions and its record. Finished arms with the same
options are kept, an arm that was stopped goes on where it was, and one that fails does not lose the others.
The back end of a model is opened once for all of its arms. Every arm decodes greedily.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby, product
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator, DecoderName
from ..backends import LogitsBackend, TextBackend
from ..decoding.engines import EngineName
from ..errors import InputError, OutputError, UserError
from ..files import require_writable, write_atomically
from ..formats.ddi import read_ddi
from ..runs.job import annotate_file
from ..runs.progress import Progress
from ..runs.record import record_path
from ..runs.splits import Split
from .comparison import Comparison
from .scored_run import score_runs

TABLE = "ablation"
"""The name of the table's files, without their suffixes."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one run of the grid does otherwise than another.

    model, prompt: as on a command line; None for the ones that ship with the package.
    decoder: "unconstrained" generates freely and aligns; the others are constrained.
    engine: what says which tokens are legal.
    select: how examples are chosen, None where there are none.
    """

    model: str | None = None
    decoder: DecoderName = "copy-draft"
    engine: EngineName = "native"
    prompt: str | None = None
    shots: int = 0
    select: str | None = None


Backend = LogitsBackend | TextBackend
OpenArm = Callable[[Arm, Backend | None], Annotator]
"""Makes the annotator of an arm, over the back end that another arm of the same model has opened, if any."""


def grid(
    *,
    models: Sequence[str | None] = (None,),
    decoders: Sequence[DecoderName] = ("copy-draft", "unconstrained"),
    engines: Sequence[EngineName] = ("native",),
    prompts: Sequence[str | None] = (None,),
    shots: Sequence[int] = (0,),
    selects: Sequence[str] = ("random",),
) -> list[Arm]:
    """Every combination, once, in the order of the arguments' values; arms of a model stand together.

    Combinations that come to the same are one arm: without examples there is nothing to select, without a
    constraint no engine, and engines other than the native one decode stepwise.

    Example: decoders d, shots 0 and 5, selects a and b -> (d, 0), (d, 5, a), (d, 5, b)
    """
    arms: dict[Arm, None] = {}
    for model, prompt, n, select, decoder, engine in product(
        models, prompts, shots, selects, decoders, engines
    ):
        if decoder == "unconstrained":
            engine = "native"
        elif engine != "native":
            decoder = "stepwise"
        arms[Arm(model, decoder, engine, prompt, n, select if n else None)] = None
    return list(arms)


def arm_names(arms: Sequence[Arm]) -> dict[Arm, str]:
    """A name for each arm, made of what varies in the grid, that can stand in a file name.

    Example: copy-draft and unconstrained, shots 0 and 5 -> constrained-0-shots, unconstrained-0-shots, ...
    """
    chosen = {f.name: {getattr(arm, f.name) for arm in arms} for f in fields(Arm)}
    chosen["select"].discard(None)  # follows from the number of examples
    varying = [name for name, values in chosen.items() if len(values) > 1]
    constrained = chosen["decoder"] - {"unconstrained"}
    names: dict[Arm, str] = {}
    for arm in arms:
        decoder = "constrained" if constrained == {arm.decoder} else arm.decoder
        parts = [decoder if name == "decoder" else _name_part(name, getattr(arm, name)) for name in varying]
        name = re.sub(r"[^\w.+-]+", "_", "-".join(filter(None, parts))).strip("._") or decoder
        taken = set(names.values())
        names[arm] = next(
            n for n in (name, *(f"{name}.{k}" for k in range(2, len(arms) + 2))) if n not in taken
        )
    return names


def _name_part(field: str, value: object) -> str:
    if field == "shots":
        return f"{value}-shots"
    if field in ("model", "prompt"):
        return Path(str(value)).stem if value else {"model": "bundled", "prompt": "plain"}[field]
    return str(value) if value else ""


@dataclass(frozen=True)
class Outcome:
    """What became of a grid. records: arm -> the run's record. failed: arm -> why it has none."""

    input: Path
    names: dict[Arm, str]
    records: dict[Arm, Path]
    failed: dict[Arm, str]

    @cached_property
    def comparison(self) -> Comparison:
        """The runs that there are, in the order of the grid, compared with the first of them."""
        names = [self.names[arm] for arm in self.records]
        return Comparison.of(score_runs(self.records.values(), self.input, names), all_measures=True)

    def save(self, folder: Path) -> None:
        """Write the table beside the runs, as Markdown, as CSV and as JSON. Raises OutputError."""
        rows = list(self._plain())
        failed = {self.names[arm]: message for arm, message in self.failed.items()}
        content = {"input": self.input.name, "arms": rows, "failed": failed}
        texts = {
            "md": self.comparison.table(options=False).markdown(),
            "csv": _as_csv(rows),
            "json": json.dumps(content, indent=2, ensure_ascii=False) + "\n",
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
            yield {
                "name": self.names[arm],
                **{f.name: getattr(arm, f.name) for f in fields(arm)},
                "measures": figures,
            }


def run_grid(
    arms: Iterable[Arm],
    input: Path,
    folder: Path,
    open_arm: OpenArm,
    *,
    limit: int | None = None,
    split: Split | None = None,
    examples: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is not finished yet, and return where everything is.

    split: which split the input is, if it is not one of those that are known.
    examples: what the records of arms with examples shall say of where these come from.
    Raises UserError where no arm could run: input without gold, a folder that cannot be written.
    """
    progress = progress or Progress(quiet=True)
    if not any(sentence.mentions for document in read_ddi(input) for sentence in document):
        raise InputError(f"{input}: has no entities to compare the answers with")
    _make_folder(folder)
    arms = list(arms)
    names = arm_names(arms)
    records: dict[Arm, Path] = {}
    failed: dict[Arm, str] = {}
    for _, of_model in groupby(arms, key=lambda arm: arm.model):
        with contextlib.ExitStack() as stack:
            shared = _SharedBackend(open_arm, stack)
            for arm in of_model:
                out = folder / f"{names[arm]}.out"
                progress.say(f"arm {len(records) + len(failed) + 1} of {len(arms)}: {names[arm]}")
                try:
                    annotate_file(
                        input,
                        out,
                        shared.opener(arm),
                        limit=limit,
                        consistency=False,  # arms differ in what is compared, and in nothing after it
                        keep_finished=True,
                        split=split,
                        choices=_choices_of(arm, examples or {}),
                        progress=progress,
                    )
                except UserError as error:
                    failed[arm] = str(error)
                except Exception as error:  # a night's grid must not be lost to one arm
                    failed[arm] = _unexpected(error, folder / f"{names[arm]}.traceback")
                else:
                    records[arm] = record_path(out)
                if arm in failed:
                    progress.say(f"arm {names[arm]} failed: {failed[arm]}")
    if not records:
        name, message = next((names[arm], message) for arm, message in failed.items())
        raise UserError(f"no arm could run: {name}: {message}")
    return Outcome(input, names, records, failed)


class _SharedBackend:
    """The back end of one model, opened by the first arm that gets so far, closed with the stack."""

    def __init__(self, open_arm: OpenArm, stack: contextlib.ExitStack) -> None:
        self._open_arm, self._stack = open_arm, stack
        self._backend: Backend | None = None

    def opener(self, arm: Arm) -> Callable[[], contextlib.AbstractContextManager[Annotator]]:
        def open_it() -> contextlib.AbstractContextManager[Annotator]:
            annotator = self._open_arm(arm, self._backend)
            if self._backend is None:
                self._backend = annotator.backend
                self._stack.callback(annotator.close)
            return contextlib.nullcontext(annotator)

        return open_it


def _choices_of(arm: Arm, examples: Mapping[str, Any]) -> dict[str, Any]:
    """What a record cannot tell from the annotator itself."""
    of_examples = {"select": arm.select, **examples} if arm.shots else {}
    named = {"prompt": arm.prompt} if arm.prompt else {}  # otherwise it is the adapter's, or plain
    return {**named, "shots": arm.shots, **of_examples}


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


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A line an arm: what it chose, then each figure, with its interval in columns of their own."""
    flat = []
    for row in rows:
        figures = {
            key if part == "value" else f"{key}_{part}": number
            for key, figure in row["measures"].items()
            for part, number in figure.items()
        }
        flat.append({name: value for name, value in row.items() if name != "measures"} | figures)
    buffer = io.StringIO()
    header = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(buffer, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()
