"""The bundled model on each back end that runs it, side by side: speed, passes, memory, time to load.

    python benchmarks/bundled.py devel.xml [--limit N] [--rounds N]

Each back end has a process of its own with one thread. They take turns, one block of sentences each, so that
other load on the machine affects all alike; --rounds repeats everything and shows the spread. The speed is
that of the whole annotation, drafts included, in sentences a second of processor time.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

BLOCK = 50
ARMS: dict[str, dict[str, Any]] = {
    "llama.cpp": {"backend": "llamacpp", "threads": 1},
    "float32": {"backend": "bundled-cpu", "precision": "float32"},
    "int8": {"backend": "bundled-cpu", "precision": "int8"},
}
"""Name -> options of `Annotator.load`. A horizon of drafts is another option to vary here."""


@dataclass
class Arm:
    """What one back end took. speeds: sentences a second of processor time, one for each round."""

    name: str
    load_s: float
    speeds: list[float] = field(default_factory=list)
    passes: float = 0.0
    tokens: float = 0.0
    peak_mb: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("xml", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    workers = {name: _start(name, options.xml, options.limit) for name in ARMS}
    arms = {name: Arm(name, pipe.recv()) for name, pipe in workers.items()}
    for _ in range(options.rounds):
        for name, speed, passes, tokens, peak in _one_round(workers):
            arm = arms[name]
            arm.speeds.append(speed)
            arm.passes, arm.tokens, arm.peak_mb = passes, tokens, peak
    for pipe in workers.values():
        pipe.send("stop")
    report(list(arms.values()))


def report(arms: list[Arm]) -> None:
    print(f"{processor()}, Python {platform.python_version()}, one thread, {len(arms[0].speeds)} round(s)")
    print(f"{'':<12}{'sentences/s':>12}{'spread':>16}{'passes':>8}{'tokens':>8}{'MB':>6}{'load s':>8}")
    for arm in arms:
        mean = sum(arm.speeds) / len(arm.speeds)
        spread = f"{min(arm.speeds):.1f} to {max(arm.speeds):.1f}"
        print(
            f"{arm.name:<12}{mean:>12.1f}{spread:>16}{arm.passes:>8.2f}{arm.tokens:>8.1f}"
            f"{arm.peak_mb:>6.0f}{arm.load_s:>8.2f}"
        )
    first, *others = arms
    for arm in others:
        ratios = [own / reference for own, reference in zip(arm.speeds, first.speeds, strict=True)]
        print(f"{arm.name} is {min(ratios):.2f} to {max(ratios):.2f} times as fast as {first.name}")


def _one_round(workers: dict[str, Connection]) -> Iterator[tuple[str, float, float, float, float]]:
    """Let the workers take turns until all sentences are done."""
    running = dict(workers)
    while running:
        for name, pipe in list(running.items()):
            pipe.send("block")
            answer = pipe.recv()
            if answer is not None:
                yield (name, *answer)
                del running[name]


def _start(name: str, xml: Path, limit: int | None) -> Connection:
    ours, theirs = get_context("spawn").Pipe()
    get_context("spawn").Process(target=_work, args=(theirs, name, xml, limit), daemon=True).start()
    return ours


def _work(pipe: Connection, name: str, xml: Path, limit: int | None) -> None:
    """Say how long loading took; then annotate a block whenever told to, and sum up at the end of a round."""
    from constrained_ner import Annotator
    from constrained_ner.annotation.annotator import bundled_model
    from constrained_ner.backends import load_backend
    from constrained_ner.formats.ddi import read_ddi

    sentences = [s for document in read_ddi(xml) for s in document][:limit]
    began_s = time.perf_counter()
    backend = load_backend(bundled_model(), **ARMS[name])
    pipe.send(time.perf_counter() - began_s)
    list(Annotator(backend).run(sentences[:20]))  # warm up
    while True:
        ner = Annotator(backend)  # names found in one round do not help the next
        spent_s, efforts = 0.0, []
        for start in range(0, len(sentences), BLOCK):
            if pipe.recv() == "stop":
                return
            began_s = time.process_time()
            efforts += [result.effort for result in ner.run(sentences[start : start + BLOCK])]
            spent_s += time.process_time() - began_s
            if start + BLOCK < len(sentences):
                pipe.send(None)
        n = len(sentences)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        passes, tokens = sum(e.n_passes for e in efforts) / n, sum(e.n_tokens for e in efforts) / n
        pipe.send((n / spent_s, passes, tokens, peak))


def processor() -> str:
    """The processor's name, as Linux gives it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    found = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or sys.platform


if __name__ == "__main__":
    main()
