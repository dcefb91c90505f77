"""Copy-draft and stepwise decoding side by side on one model: forward passes, tokens and seconds.

    python benchmarks/decoders.py [XML] [--model MODEL] [--limit N] [--threads N] [--batch N]
                                  [--horizon N [N ...]]

Copy-draft runs once for each --horizon: the most tokens of a draft, 0 for the whole rest of the sentence. By
default it is the back end's own. Blocks of sentences go through all decoders in turn, so that other load on
the machine affects all. Then the main job runs on the whole file in a process of its own, to measure its peak
memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from constrained_ner import Annotator, Sentence
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.annotation.result import Annotated
from constrained_ner.backends import LogitsBackend, load_backend
from constrained_ner.formats.ddi import read_ddi

ROOT = Path(__file__).parents[1]
BLOCK = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("xml", nargs="?", type=Path, default=ROOT / "examples" / "sample.xml")
    parser.add_argument("--model", default=None)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--horizon", type=int, nargs="+")
    options = parser.parse_args()
    sentences = [s for document in read_ddi(options.xml) for s in document if s.text.strip()][: options.limit]
    model = str(options.model or bundled_model())
    backend = load_backend(model, threads=options.threads, batch=options.batch)
    horizons = [backend.draft_horizon] if options.horizon is None else [n or None for n in options.horizon]
    report(*race(backend, sentences, horizons))
    backend.close()
    if options.model is None:
        measure_main_job(options.xml)


class Runner:
    """One way of decoding, with its own lexicon of the names found so far. seconds: of all processors."""

    def __init__(self, name: str, ner: Annotator, sentences: list[Sentence]) -> None:
        self.name = name
        self.seconds = 0.0
        self.results: list[Annotated] = []
        self._to_come = ner.run(sentences)

    def go_on(self) -> None:
        began_s = time.process_time()
        self.results += islice(self._to_come, BLOCK)
        self.seconds += time.process_time() - began_s

    def per_sentence(self, figure: str) -> float:
        return sum(getattr(result.effort, figure) for result in self.results) / len(self.results)


def race(backend: LogitsBackend, sentences: list[Sentence], horizons: list[int | None]) -> list[Runner]:
    """Stepwise decoding first, then copy-draft with each horizon."""
    list(Annotator(backend).run(sentences[:5]))  # warm the caches for all
    runners = [Runner("stepwise", Annotator(backend, decoder="stepwise"), sentences)]
    for horizon in horizons:
        backend.draft_horizon = horizon  # an annotator keeps what it finds when it is made
        ner = Annotator(backend, decoder="copy-draft")
        runners.append(Runner(f"copy-draft {horizon or 'whole'}", ner, sentences))
    for _ in range(0, len(sentences), BLOCK):
        for runner in runners:
            runner.go_on()
    return runners


def report(stepwise: Runner, *drafting: Runner) -> None:
    """A line for each, then how each copy-draft compares with stepwise decoding."""
    print(f"{'decoder':<18}{'passes':>8}{'tokens':>8}{'CPU ms':>8}{'sentences a CPU second':>24}")
    for runner in (stepwise, *drafting):
        passes, tokens = runner.per_sentence("n_passes"), runner.per_sentence("n_tokens")
        ms = 1000 * runner.seconds / len(runner.results)
        print(f"{runner.name:<18}{passes:>8.2f}{tokens:>8.1f}{ms:>8.2f}{1000 / ms:>24.1f}")
    for runner in drafting:
        pairs = list(zip(runner.results, stepwise.results, strict=True))
        n_equal = sum(_names(one) == _names(other) for one, other in pairs)
        print(
            f"{runner.name}: {stepwise.seconds / runner.seconds:.1f} times as fast as stepwise, "
            f"the same mentions in {n_equal} of {len(pairs)} sentences"
        )


def _names(annotated: Annotated) -> list[tuple[int, int, str]]:
    return [(m.start, m.end, m.type) for m in annotated.sentence.mentions]


def measure_main_job(xml: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "bin" / "llm-NERC"), str(xml), f"{folder}/out"]
        subprocess.run(command, check=True)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of {' '.join(command[1:3])}: {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
