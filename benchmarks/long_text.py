"""How time and memory grow with the length of a text that is annotated as one sentence.

    python benchmarks/long_text.py TEXTS [--lengths 100,1000,...] [--model MODEL]

TEXTS is DDI XML, whose sentences are joined and repeated. Each length runs in a process of its own. Time is
linear if the last column is constant (on a busy machine: the tokens per character). Memory is bounded if the
peak grows only with the text itself and its mentions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from itertools import cycle
from pathlib import Path

from constrained_ner import Annotator, Sentence
from constrained_ner.formats.ddi import read_ddi


def text_of(path: Path, length: int) -> str:
    parts: list[str] = []
    n = 0
    for sentence in cycle([s.text for document in read_ddi(path) for s in document if s.text]):
        parts.append(sentence)
        n += len(sentence) + 1
        if n > length:
            return " ".join(parts)[:length]
    raise AssertionError("cycle never ends")


def measure(path: Path, length: int, model: str | None) -> tuple[float, int, int, int, float]:
    """Seconds, windows, mentions, tokens evaluated, peak memory in MB."""
    text = text_of(path, length)
    with Annotator.load(model, threads=1) as ner:
        ner.annotate("Aspirin.")
        began_s = time.perf_counter()
        (annotated,) = ner.run([Sentence("long", text)])
        seconds = time.perf_counter() - began_s
    if annotated.failure is not None:
        raise SystemExit(f"{length} characters: {annotated.failure}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    effort = annotated.effort
    return seconds, effort.n_windows, len(annotated.sentence.mentions), effort.n_tokens, peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path)
    parser.add_argument("--lengths", default="100,1000,10000,100000,1000000")
    parser.add_argument("--model")
    options = parser.parse_args()
    names = ("characters", "windows", "mentions", "tokens/char.", "peak MB", "s", "ms/1000 char.")
    print(*(f"{name:>13}" for name in names))
    spawn = multiprocessing.get_context("spawn")
    for length in map(int, options.lengths.split(",")):
        with spawn.Pool(1) as pool:
            arguments = (options.texts, length, options.model)
            seconds, n_windows, n_mentions, n_tokens, peak = pool.apply(measure, arguments)
        figures = (n_tokens / length, peak, seconds, 1e6 * seconds / length)
        counts = "".join(f"{n:>13} " for n in (length, n_windows, n_mentions))
        print(counts + " ".join(f"{figure:>13.2f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
