"""The bundled model on each back end that runs it, and a dictionary as the other end, side by side.

    pip install drug-named-entity-recognition    # the dictionary; the package itself does not need it
    python benchmarks/bundled.py devel.xml [--limit N] [--rounds N]

Speed, F1 without types, passes, tokens, memory, time to load. Each arm has a process of its own, with one
thread (or two worker processes with one each). They take turns, one stretch of sentences each, so that
other load on the machine affects all alike; --rounds repeats everything and shows the spread. The speed is
that of the whole annotation, drafts included, by the clock: run it on a machine with nothing else to do.
`busy` is the share of its turns in which an arm's process computed. If that is far below 100 %, something
else ran; with workers, the process only waits for them. Each sentence is by itself: documents do not agree
on names. An arm whose package is missing is left out, and named.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from constrained_ner import Annotator, Settings
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.annotation.pipeline import BLOCK
from constrained_ner.annotation.result import Annotated, Effort
from constrained_ner.backends import load_backend
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import UserError
from constrained_ner.evaluation.official import evaluate
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.runs.stretches import stretches
from constrained_ner.runs.worker import peak_memory_mb
from constrained_ner.runs.workers import WorkerProcesses

TURN = 16 * BLOCK
"""Sentences of a turn: two workers take blocks in parallel, and one waits for the other's last."""
WARM_UP = 2 * BLOCK
AS_IT_SHIPS = Settings(consistency=False)
"""The bundled model with its list of names; only agreement over a document is left out."""
DICTIONARY = "drug-named-entity-recognition"

Annotate = Callable[[Sequence[Sentence]], list[Annotated]]
"""What an arm does with the sentences of a turn."""
OpenArm = Callable[[], AbstractContextManager[tuple[Annotate, Callable[[], float]]]]
"""Loads what an arm needs; gives what annotates, and what says the most memory that it held, in MB."""


# ---- the arms


@contextmanager
def one_process(horizon: bool = True, **options: object) -> Iterator[tuple[Annotate, Callable[[], float]]]:
    """The bundled model in this process. horizon: cut drafts where the back end says so."""
    backend = load_backend(bundled_model(), threads=1, **options)
    assert backend.shows_logits
    if not horizon:
        backend.draft_horizon = None
    ner = Annotator.load(settings=AS_IT_SHIPS, loaded=backend)
    yield lambda sentences: list(ner.run(sentences)), peak_memory_mb


@contextmanager
def worker_processes(n: int) -> Iterator[tuple[Annotate, Callable[[], float]]]:
    """The bundled model in n processes, as with `--workers n`. Loading is starting the first of them."""
    with WorkerProcesses(n) as pool, pool.open(AS_IT_SHIPS, notify=print) as crew:

        def annotate(sentences: Sequence[Sentence]) -> list[Annotated]:
            return list(crew.annotate(stretches(sentences, lambda _: None), lambda *_: None))

        yield annotate, lambda: peak_memory_mb() + sum(crew.peak_memory_mb)


@contextmanager
def dictionary() -> Iterator[tuple[Annotate, Callable[[], float]]]:
    """A dictionary of drug names: the words of a sentence, and pairs of them, looked up without case."""
    try:
        from drug_named_entity_recognition import find_drugs
    except ModuleNotFoundError:
        raise UserError(f"pip install {DICTIONARY}") from None

    def annotate(sentences: Sequence[Sentence]) -> list[Annotated]:
        found: list[Annotated] = []
        for sentence in sentences:
            words = list(re.finditer(r"\w+(?:[-']\w+)*|[^\w\s]", sentence.text))
            matches = find_drugs([word.group() for word in words], is_ignore_case=True)
            spans = {(words[first].start(), words[end - 1].end()) for _, first, end in matches}
            names = [Mention((Span(*span),), "drug", sentence.text[slice(*span)]) for span in sorted(spans)]
            found.append(Annotated(sentence.with_mentions(names)))
        return found

    yield annotate, peak_memory_mb


ARMS: dict[str, OpenArm] = {
    "llama.cpp, whole drafts": partial(one_process, backend="llamacpp", horizon=False),
    "llama.cpp": partial(one_process, backend="llamacpp"),
    "float32": partial(one_process, backend="bundled-cpu", precision="float32"),
    "int8": partial(one_process, backend="bundled-cpu", precision="int8"),
    "int8, two workers": partial(worker_processes, 2),
    "dictionary": dictionary,
}
COMPARED = (
    ("int8", "llama.cpp, whole drafts"),
    ("int8", "llama.cpp"),
    ("int8", "float32"),
    ("int8, two workers", "int8"),
    ("dictionary", "int8"),
)


# ---- one arm in its process


@dataclass(frozen=True)
class Round:
    """All sentences annotated once. clock_s, processor_s: in this process."""

    clock_s: float
    processor_s: float
    results: list[Annotated]
    peak_mb: float


def work(pipe: Connection, name: str, xml: Path, limit: int | None) -> None:
    """Say how long loading took, or why it failed; then annotate a turn's sentences whenever told to.

    The answer to a turn is None, and a Round after the last one.
    """
    sentences = [s for document in read_ddi(xml) for s in document][:limit]
    began_s = time.perf_counter()
    try:
        with ARMS[name]() as (annotate, memory_mb):
            pipe.send(time.perf_counter() - began_s)
            annotate(sentences[:WARM_UP])
            while True:
                results: list[Annotated] = []
                clock_s = processor_s = 0.0
                for start in range(0, len(sentences), TURN):
                    if pipe.recv() == "stop":
                        return
                    clock_began_s, processor_began_s = time.perf_counter(), time.process_time()
                    results += annotate(sentences[start : start + TURN])
                    clock_s += time.perf_counter() - clock_began_s
                    processor_s += time.process_time() - processor_began_s
                    if start + TURN < len(sentences):
                        pipe.send(None)
                pipe.send(Round(clock_s, processor_s, results, memory_mb()))
    except UserError as error:
        pipe.send(str(error))


# ---- all of them


@dataclass
class Arm:
    """What one arm took. speeds: sentences a second, one for each round."""

    name: str
    load_s: float
    speeds: list[float] = field(default_factory=list)
    last: Round = field(default_factory=lambda: Round(0, 0, [], 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("xml", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    pipes: dict[str, Connection] = {}
    arms: dict[str, Arm] = {}
    for name in ARMS:  # one after the other, so that none loads slowly because the others load, too
        pipe = start(name, options.xml, options.limit)
        answer = pipe.recv()
        if isinstance(answer, str):
            print(f"without {name}: {answer}")
        else:
            pipes[name], arms[name] = pipe, Arm(name, answer)
    for _ in range(options.rounds):
        for name, done in one_round(pipes):
            arms[name].speeds.append(len(done.results) / done.clock_s)
            arms[name].last = done
    for pipe in pipes.values():
        pipe.send("stop")
    gold = [s for document in read_ddi(options.xml) for s in document][: options.limit]
    report(list(arms.values()), gold)


def start(name: str, xml: Path, limit: int | None) -> Connection:
    """A process for an arm. Not a daemon: it may have processes of its own."""
    ours, theirs = get_context("spawn").Pipe()
    get_context("spawn").Process(target=work, args=(theirs, name, xml, limit)).start()
    theirs.close()  # so that ours ends if the process dies
    return ours


def one_round(pipes: dict[str, Connection]) -> Iterator[tuple[str, Round]]:
    """Let the arms take turns until all sentences are done."""
    running = dict(pipes)
    while running:
        for name, pipe in list(running.items()):
            pipe.send("turn")
            answer = pipe.recv()
            if answer is not None:
                yield name, answer
                del running[name]


def report(arms: Sequence[Arm], gold: Sequence[Sentence]) -> None:
    print(f"{processor()}, Python {platform.python_version()}, {len(gold)} sentences, ", end="")
    print(f"{len(arms[0].speeds)} round(s)")
    print(f"{'':<24}{'sentences/s':>12}{'spread':>22}{'busy':>6}{'F1':>7}", end="")
    print(f"{'passes':>8}{'tokens':>8}{'MB':>6}{'load s':>8}")
    for arm in arms:
        print(row(arm, gold))
    speeds = {arm.name: arm.speeds for arm in arms}
    for name, other in COMPARED:
        if name in speeds and other in speeds:
            ratios = [own / its for own, its in zip(speeds[name], speeds[other], strict=True)]
            print(f"{name} is {min(ratios):.2f} to {max(ratios):.2f} times as fast as {other}")


def row(arm: Arm, gold: Sequence[Sentence]) -> str:
    last, n = arm.last, len(gold)
    effort = sum((result.effort for result in last.results), Effort())
    spread = f"{min(arm.speeds):.1f} to {max(arm.speeds):.1f}"
    passes = f"{effort.n_passes / n:>8.2f}{effort.n_tokens / n:>8.1f}" if effort.n_passes else f"{'':>16}"
    mean, busy = sum(arm.speeds) / len(arm.speeds), last.processor_s / last.clock_s
    return (
        f"{arm.name:<24}{mean:>12.1f}{spread:>22}{busy:>6.0%}"
        f"{f1_without_types(last.results, gold):>7.1%}{passes}{last.peak_mb:>6.0f}{arm.load_s:>8.2f}"
    )


def f1_without_types(results: Sequence[Annotated], gold: Sequence[Sentence]) -> float:
    """F1 of the official evaluator's row `m.avg(no class)`."""
    expected = [(sentence.id, mention) for sentence in gold for mention in sentence.mentions]
    found = [(r.sentence.id, mention) for r in results for mention in r.sentence.mentions]
    return evaluate(expected, found).no_class.f1


def processor() -> str:
    """The processor's name, as Linux gives it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    found = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or sys.platform


if __name__ == "__main__":
    main()
