"""More processors: worker processes of one machine, and a Ray cluster of it, side by side in one run.

    pip install '.[ray]'
    python benchmarks/scale.py texts.jsonl [--limit N] [--rounds N]

Each arm annotates the same texts from start to finish, the start of its processes included, and the arms take
turns. Efficiency: the speed of two processors over twice that of one. All arms must write the same mentions.
Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from constrained_ner.annotation.settings import Settings
from constrained_ner.formats.documents import read_documents
from constrained_ner.formats.jsonl import write_jsonl
from constrained_ner.formats.protocol import Losses
from constrained_ner.runs.cluster import Cluster, annotate_on_cluster
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.source import Input
from constrained_ner.runs.workers import WorkerProcesses


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
    parser.add_argument("texts", type=Path)
    parser.add_argument("--limit", type=int, default=4000, help="texts (default: 4000)")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "texts.jsonl"
        documents = itertools.islice(read_documents(asked.texts), asked.limit)
        source.write_text("".join(write_jsonl(documents, Losses())), encoding="utf-8", newline="")
        n_texts = sum(1 for _ in source.open(encoding="utf-8"))
        seconds: dict[str, list[float]] = {name: [] for name in ARMS}
        written: set[bytes] = set()
        for _ in range(asked.rounds):
            for name, (n, run) in ARMS.items():
                folder = Path(place) / "run"
                folder.mkdir()
                began = time.perf_counter()
                written.add(run(n, source, folder))
                seconds[name].append(time.perf_counter() - began)
                shutil.rmtree(folder)
                print(json.dumps({"arm": name, "seconds": round(seconds[name][-1], 1)}), flush=True)
    print(f"\n{n_texts} texts; {'the same bytes in all arms' if len(written) == 1 else 'THE ARMS DIFFER'}")
    for name, (n, run) in ARMS.items():
        speed = n_texts / statistics.median(seconds[name])
        one = next(
            n_texts / statistics.median(seconds[o]) for o, (m, r) in ARMS.items() if m == 1 and r is run
        )
        print(f"{name:20s} {speed:8.1f} texts/s   efficiency {speed / (n * one):.0%}")


if __name__ == "__main__":
    main()
