"""Copy-draft and stepwise decoding side by side on one model: forward passes and seconds.

    python benchmarks/decoders.py [XML] [--model MODEL] [--limit N] [--threads N] [--batch N]

Blocks of sentences go through both decoders in turn, so that other load on the machine affects both. Then the
main job runs on the whole file in a process of its own, to measure its peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from constrained_ner import Annotator, Sentence
from constrained_ner.annotation.annotator import DecoderName, bundled_model
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
    options = parser.parse_args()
    sentences = [s for document in read_ddi(options.xml) for s in document if s.text.strip()][: options.limit]
    model = str(options.model or bundled_model())
    backend = load_backend(model, threads=options.threads, batch=options.batch)
    report(*race(backend, sentences))
    backend.close()
    if options.model is None:
        measure_main_job(options.xml)


def race(
    backend: LogitsBackend, sentences: list[Sentence]
) -> tuple[dict[str, float], dict[str, list[Annotated]]]:
    """Seconds and results for each decoder. Each has its own lexicon of the names found so far."""
    decoders: tuple[DecoderName, ...] = ("stepwise", "copy-draft")
    seconds = dict.fromkeys(decoders, 0.0)
    results: dict[str, list[Annotated]] = {name: [] for name in decoders}
    annotators = {name: Annotator(backend, decoder=name) for name in decoders}
    list(Annotator(backend).run(sentences[:5]))  # warm the caches for both
    for start in range(0, len(sentences), BLOCK):
        for name, ner in annotators.items():
            began_s = time.perf_counter()
            results[name] += ner.run(sentences[start : start + BLOCK])
            seconds[name] += time.perf_counter() - began_s
    return seconds, results


def report(seconds: dict[str, float], results: dict[str, list[Annotated]]) -> None:
    print(
        f"{'decoder':<12}{'passes/sentence':>16}{'tokens/sentence':>17}{'ms/sentence':>13}{'sentences/s':>13}"
    )
    for name, annotated in results.items():
        n = len(annotated)
        n_passes = sum(a.effort.n_passes for a in annotated) / n
        n_tokens = sum(a.effort.n_tokens for a in annotated) / n
        ms = 1000 * seconds[name] / n
        print(f"{name:<12}{n_passes:>16.2f}{n_tokens:>17.1f}{ms:>13.2f}{1000 / ms:>13.1f}")
    drafted, reference = results["copy-draft"], results["stepwise"]
    n_equal = sum(_names(a) == _names(b) for a, b in zip(drafted, reference, strict=True))
    n_within = sum(a.effort.n_passes <= 2 * len(a.sentence.mentions) + 2 for a in drafted)
    print(f"copy-draft is {seconds['stepwise'] / seconds['copy-draft']:.1f} times faster")
    print(f"the same mentions: {n_equal} of {len(drafted)} sentences")
    print(f"within 2 x mentions + 2 passes: {n_within} of {len(drafted)} sentences")


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
