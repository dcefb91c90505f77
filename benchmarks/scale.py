"""More processors: worker processes of one machine, and a Ray cluster of it, side by side in one run.

    pip install '.[ray]'
    python benchmarks/scale.py texts.jsonl [--texts N] [--rounds N]

Each arm annotates the same texts from start to finish, and the arms take turns. Efficiency is the speed of
two processors over twice that of one: once of whole runs, the start of processes and models included, and once
of the steady state. For that each arm also runs the first 64 texts alone; the difference of the two runs, in
texts and in seconds, has no start in it. All arms must write the same mentions. Run it on a machine with
nothing else to do, with so many texts that the steady state lasts minutes.
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


ARMS: dict[str, tuple[int, Callable[[int, Path, Path], bytes]]] = {
    "1 worker process": (1, by_workers),
    "2 worker processes": (2, by_workers),
    "Ray, 1 processor": (1, by_ray),
    "Ray, 2 processors": (2, by_ray),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, help="texts, in any format; repeated until there are enough")
    parser.add_argument("--texts", type=int, default=30_000, help="how many (default: 30000)")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    lines = itertools.islice(repeated(asked.input), asked.texts)
    seconds: dict[tuple[str, bool], list[float]] = {
        (name, is_short): [] for name in ARMS for is_short in (False, True)
    }
    written: dict[bool, set[bytes]] = {False: set(), True: set()}
    with tempfile.TemporaryDirectory() as place:
        long, short = Path(place) / "long.jsonl", Path(place) / "short.jsonl"
        n_texts = write(long, lines)
        n_short = write(short, itertools.islice(long.open(encoding="utf-8"), SHORT))
        for _ in range(asked.rounds):
            for name, (n, run) in ARMS.items():
                for source in (short, long):
                    folder = Path(place) / "run"
                    folder.mkdir()
                    began = time.perf_counter()
                    output = run(n, source, folder)
                    seconds[name, source is short].append(time.perf_counter() - began)
                    written[source is short].add(hashlib.sha256(output).digest())
                    shutil.rmtree(folder)
                    last = round(seconds[name, source is short][-1], 1)
                    print(json.dumps({"arm": name, "input": source.stem, "seconds": last}), flush=True)
    same = all(len(outputs) == 1 for outputs in written.values())
    print(f"\n{n_texts} texts; {'the same bytes in all arms' if same else 'THE ARMS DIFFER'}")
    median = {key: statistics.median(times) for key, times in seconds.items()}
    whole = {name: n_texts / median[name, False] for name in ARMS}
    steady = {name: (n_texts - n_short) / (median[name, False] - median[name, True]) for name in ARMS}
    print(f"{'':20s}  whole run: texts/s  efficiency  steady: texts/s  efficiency  start s")
    for name, (n, run) in ARMS.items():
        one = next(other for other, (m, same_way) in ARMS.items() if m == 1 and same_way is run)
        start_s = median[name, True] - n_short / steady[name]
        print(
            f"{name:20s}  {whole[name]:18.1f}  {whole[name] / (n * whole[one]):10.0%}  "
            f"{steady[name]:15.1f}  {steady[name] / (n * steady[one]):10.0%}  {start_s:7.1f}"
        )


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
