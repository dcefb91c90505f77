"""A corpus annotated on the machines of a Ray cluster, partition by partition.

    corpus -> partitions (here) -> Ray Data, an actor for each copy of the model -> a file for each partition

Ray starts the actors, gives them partitions, and replaces those that die with their machine. A partition is
annotated like any other file (`job.annotate_file`): it is written once and whole, or not at all, with a
record of its own. So one that is asked for again, after a death or in a job that is started again, is done
already, goes on from its journal, or is done anew; nothing is lost or doubled. All machines must see the
folder.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..annotation.annotator import Annotator, Notify
from ..annotation.operating_point import is_file
from ..annotation.settings import Settings
from ..errors import MissingExtraError, ModelError, OutputError, UserError
from ..files import require_apart
from ..formats import FORMATS, writable
from .examples import with_examples
from .job import annotate_file
from .partitions import Partition, remove_inputs, write_partitions
from .progress import ProgressDisplay
from .record import RunRecord, added_up, record_path
from .source import Input, Source

AUTO = "auto"
_IN_PARTITIONS = ("jsonl", "parquet", "lines", "csv")
"""Formats that a folder of partitions can have: a file each, and files that can be put together."""


@dataclass(frozen=True)
class Cluster:
    """Where to annotate.

    address: of a Ray cluster; "auto" for the one that this machine belongs to, or a new one of this machine
    alone. cpus_per_model, gpus_per_model: what each copy of the model gets to itself.
    """

    address: str = AUTO
    cpus_per_model: float = 1.0
    gpus_per_model: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus_per_model <= 0 or self.gpus_per_model < 0:
            raise UserError("a model needs some processors (--cpus-per-model), and no less than 0 GPUs")


def annotate_on_cluster(
    input: Input,
    output: Path,
    settings: Settings,
    cluster: Cluster,
    *,
    to: str = "jsonl",
    overwrite: bool = False,
    progress: ProgressDisplay | None = None,
) -> RunRecord:
    """Annotate texts or sentences into the folder `output`, and return the sum of the partitions' records.

    to: format of the partitions. overwrite: replace results of other runs there. Raises UserError.
    """
    if settings.operating_point is not None and not is_file(settings.operating_point):
        raise UserError(
            f"--operating-point {settings.operating_point}: a job on a cluster takes a point that is fitted "
            "already; fit it with calibrate --point FILE, and name FILE"
        )
    ray = _ray()
    progress = progress or ProgressDisplay(quiet=True)
    suffix = _suffix(to)
    if input.limit is not None:
        raise UserError("--limit: a job on a cluster annotates all of its input")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: exists, and is no folder for the partitions")
    require_apart([output], {"the input": input.path}, ("",))
    with progress.during(f"reading {input.name}"):
        source = Source.check(input, progress.note)
        shown = with_examples(settings, source.every_document, input.path, progress.note, input.example_types)
        partitions = write_partitions(source.uncut_documents(), output, suffix)
    _remove_others(output, partitions, overwrite=overwrite)
    done_before = [p for p in partitions if p.output.exists() and record_path(p.output).exists()]
    if done_before and not overwrite:
        progress.say(f"resuming: {len(done_before)} of {len(partitions)} partitions already done")
    began_s, started = time.perf_counter(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    with _connected(ray, cluster), progress.start(source.n_sentences):
        for done in _rows(ray, cluster, partitions, _Copy(shown, to, overwrite)):
            if done["error"]:
                raise UserError(done["error"])
            for note in done["notes"]:
                progress.note(note)
            if done["n_sentences"]:
                progress.advance(done["n_sentences"])
    record = added_up(
        [RunRecord.load(record_path(partition.output)) for partition in partitions],
        input=input.name,
        output=str(output),
        mentions=None,
        fingerprint=None,
        started=started,
        data_hash=source.data_hash,
        split=source.split,
        skipped_files=source.skipped,
        peak_memory_mb=(),
        elapsed_s=round(time.perf_counter() - began_s, 3),
    )
    record.save(record_path(output))
    remove_inputs(output)
    progress.say(
        f"{output}: {record.n_mentions} mentions in {record.n_sentences} sentences, "
        f"{len(partitions)} partitions, {record.elapsed_s:.1f} s"
    )
    return record


def _remove_others(folder: Path, partitions: Sequence[Partition], *, overwrite: bool) -> None:
    """Remove results that would be taken for this job's; raise OutputError unless they may be overwritten."""
    ours = {partition.output.name for partition in partitions}
    for path in sorted(folder.glob("part-*")):
        if not any(path.name.startswith(name) for name in ours):
            if not overwrite:
                raise OutputError(f"{path}: is of another run; choose another folder, or pass --overwrite")
            path.unlink()


@dataclass
class _Copy:
    """A copy of the model in an actor; each call annotates a partition. Made here, it loads nothing."""

    settings: Settings
    to: str
    overwrite: bool
    _annotator: Annotator | None = field(default=None, init=False)
    _notes: list[str] = field(default_factory=list, init=False)

    def __call__(self, partition: Partition) -> dict[str, Any]:
        """What was done, as plain data. error: what the user can mend; empty if all is well."""
        self._notes = []
        try:
            record = annotate_file(
                Input(partition.input, format="jsonl"),
                partition.output,
                self.settings,
                to=self.to,
                keep_finished=not self.overwrite,
                overwrite=self.overwrite,
                open_annotator=self._open,
            )
        except UserError as error:
            return {"n_sentences": 0, "notes": [], "error": str(error)}
        return {"n_sentences": record.n_sentences, "notes": self._notes, "error": ""}

    def _open(self, settings: Settings, notify: Notify) -> AbstractContextManager[Annotator]:
        """The annotator, which stays open between partitions."""
        if self._annotator is None:
            self._annotator = Annotator.load(settings=settings, notify=self._notes.append)
        return nullcontext(self._annotator)


class _Actor:
    """What Ray Data makes of a copy: batches of rows in, batches of rows out."""

    def __init__(self, copy: _Copy) -> None:
        self._copy = copy

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = zip(batch["number"], batch["input"], batch["output"], strict=True)
        done = [self._copy(Partition(int(n), Path(i), Path(o))) for n, i, o in rows]
        return {name: [row[name] for row in done] for name in ("n_sentences", "notes", "error")}


def _rows(ray: Any, cluster: Cluster, partitions: list[Partition], copy: _Copy) -> Iterator[dict[str, Any]]:
    """What was done, as partitions are finished. Raises ModelError if Ray cannot go on."""
    rows = [
        {"number": p.number, "input": str(p.input.resolve()), "output": str(p.output.resolve())}
        for p in partitions
    ]
    available = ray.cluster_resources()
    room = available.get("CPU", 0) / cluster.cpus_per_model
    if cluster.gpus_per_model:
        room = min(room, available.get("GPU", 0) / cluster.gpus_per_model)
    if room < 1:
        raise UserError(
            f"the cluster has {available.get('CPU', 0):g} processors and {available.get('GPU', 0):g} GPUs: "
            f"not enough for one model with {cluster.cpus_per_model:g} and {cluster.gpus_per_model:g}"
        )
    n_copies = max(1, min(int(room), len(rows)))
    try:
        yield from (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .map_batches(
                _Actor,
                fn_constructor_args=(copy,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=n_copies),
                num_cpus=cluster.cpus_per_model,
                num_gpus=cluster.gpus_per_model or None,
            )
            .iter_rows()
        )
    except (ray.exceptions.RayError, ray.data.exceptions.UserCodeException) as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ModelError(f"Ray gave up: {last:.300}") from None


def _suffix(to: str) -> str:
    writable(to)
    if to not in _IN_PARTITIONS:
        raise UserError(f"--to {to}: partitions are written as one of {', '.join(_IN_PARTITIONS)}")
    return FORMATS[to].suffixes[0]


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Connected to the cluster; a new one ends afterwards. A connection that is there already stays."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a warning of versions to come
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong comes as an exception
    try:
        ray.init(address=cluster.address, **quiet)
    except ConnectionError as error:
        if cluster.address != AUTO:
            raise UserError(f"--ray {cluster.address}: {error}") from None
        ray.init(include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError:
        raise MissingExtraError("ray", "ray") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
