"""More processors: worker processes of one machine, and a Ray cluster of it, side by side in one run.

    pip install '.[ray]'
    python benchmarks/scale.py texts.jsonl [--texts N] [--rounds N] [--ways workers ray]

Each arm annotates the same texts from start to finish, by one processor and by two. Efficiency is the speed
of two over twice that of one: once of whole runs, the start of processes and models included, and once of the
steady state. For that each arm also runs the first 64 texts alone; the difference of the two runs, in texts
and in seconds, has no start in it. All arms must write the same mentions. Run it on a machine with nothing
else to do, with so many texts that the steady state lasts minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from constrained_ner.annotation.settings import Settings
from constrained_ner.formats.documents import read_documents
from constrained_ner.formats.jsonl import write_jsonl
from constrained_ner.formats.protocol import Losses
from constrained_ner.runs.cluster import Cluster, annotate_on_cluster
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.source import Input
from constrained_ner.runs.workers import WorkerProcesses

SHORT = 64
"""Texts of the run that shows what the start costs: two blocks, so that two workers have something to do."""


def by_workers(n: int, source: Path, folder: Path) -> bytes:
    with WorkerProcesses(n) as workers:
        annotate_file(Input(source), folder / "out.jsonl", Settings(), workers=workers)
    return (folder / "out.jsonl").read_bytes()


def by_ray(n: int, source: Path, folder: Path) -> bytes:
    import ray

    ray.init(num_cpus=n, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        annotate_on_cluster(Input(source), folder / "out", Settings(), Cluster())
    finally:
        ray.shutdown()
    return b"".join(path.read_bytes() for path in sorted((folder / "out").glob("part-?????.jsonl")))


WAYS: dict[str, Callable[[int, Path, Path], bytes]] = {"workers": by_workers, "ray": by_ray}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, help="texts, in any format; repeated until there are enough")
    parser.add_argument("--texts", type=int, default=30_000, help="how many (default: 30000)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="default: all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        long, short = Path(place) / "long.jsonl", Path(place) / "short.jsonl"
        n_texts = write(long, itertools.islice(repeated(asked.input), asked.texts))
        with long.open(encoding="utf-8") as lines:
            n_short = write(short, itertools.islice(lines, SHORT))
        runs = [
            timed(way, n, source)
            for _ in range(asked.rounds)
            for way in asked.ways
            for n in (1, 2)
            for source in (short, long)
        ]
    outputs = {(run.input, run.output) for run in runs}
    print(f"\n{n_texts} texts; {'the same bytes in all arms' if len(outputs) == 2 else 'THE ARMS DIFFER'}")
    print("              whole run: texts/s  efficiency  steady: texts/s  efficiency  start s")
    for way in asked.ways:
        speeds = []
        for n in (1, 2):
            long_s, short_s = median_s(runs, way, n, "long"), median_s(runs, way, n, "short")
            whole, steady = n_texts / long_s, (n_texts - n_short) / (long_s - short_s)
            speeds.append((whole, steady))
            print(
                f"{way:8s} x {n}  {whole:18.1f}  {whole / (n * speeds[0][0]):10.0%}  {steady:15.1f}  "
                f"{steady / (n * speeds[0][1]):10.0%}  {short_s - n_short / steady:7.1f}"
            )


class Run(NamedTuple):
    """One run from start to finish. output: a hash of its bytes."""

    way: str
    n: int
    input: str
    seconds: float
    output: str


def timed(way: str, n: int, source: Path) -> Run:
    folder = source.parent / "run"
    folder.mkdir()
    began = time.perf_counter()
    output = WAYS[way](n, source, folder)
    run = Run(way, n, source.stem, time.perf_counter() - began, hashlib.sha256(output).hexdigest())
    shutil.rmtree(folder)
    print(f"{way} x {n}, {source.stem}: {run.seconds:.1f} s", flush=True)
    return run


def median_s(runs: Iterable[Run], way: str, n: int, source: str) -> float:
    return statistics.median(run.seconds for run in runs if (run.way, run.n, run.input) == (way, n, source))


def repeated(path: Path) -> Iterator[str]:
    """The texts of a file as JSON lines, again and again, with ids of their own."""
    records = [json.loads(line) for line in write_jsonl(read_documents(path), Losses())]
    for n in itertools.count():
        for record in records:
            ids = {key: f"{n}.{record[key]}" for key in ("id", "document") if key in record}
            yield json.dumps({**record, **ids}, ensure_ascii=False) + "\n"


def write(path: Path, lines: Iterable[str]) -> int:
    """Write lines; returns how many."""
    n = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for line in lines:
            n += file.write(line) > 0
    return n


if __name__ == "__main__":
    main()
