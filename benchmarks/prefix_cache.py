"""Measures what examples in the prompt cost per sentence: computed once for all sentences, or for each.

    python benchmarks/prefix_cache.py [XML] [--examples XML] [--limit N] [--shots 0,5,15,40] [--threads N]

The model is a small Llama with random weights, the same through llama.cpp and transformers. A bias keeps it
from tagging, so every sentence takes one pass over its prompt and one plain copy, and only the prompt
differs. The left half shows the usual case, a shared prefix. In the right half every sentence gets the same
examples as if they were chosen for it, as with `--select similar`. Blocks of sentences go through all cases
in turn, so that other load on the machine affects all of them alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from constrained_ner import DDI, Annotator, Sentence
from constrained_ner.backends.protocol import LogitsBackend
from constrained_ner.export.to_gguf import export_model
from constrained_ner.formats.ddi import read_ddi

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))
from tiny_instruct import make_tiny_instruct  # noqa: E402

BLOCK = 4
CONTEXT = 16384
NEVER = dict.fromkeys(DDI.type_names, -100.0)  # log-odds of every tag


class SameForEach:
    """Chooses the same examples for every question."""

    def __init__(self, examples: Sequence[Sentence]) -> None:
        self.examples = examples

    def __call__(self, question: str) -> Sequence[Sentence]:
        return self.examples

    def hash(self) -> str:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("xml", nargs="?", type=Path, default=ROOT / "examples" / "sample.xml")
    parser.add_argument("--examples", type=Path, default=ROOT / "examples" / "shots.xml")
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--shots", default="0,5,15,40")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    sentences = list(islice(texts(options.xml), options.limit))
    shots = [int(n) for n in options.shots.split(",")]
    examples = list(islice(cycle(texts(options.examples)), max(shots)))  # repeated if the file has too few
    with tempfile.TemporaryDirectory() as folder:
        for name, load in backends(Path(folder), options.threads):
            with ExitStack() as stack:
                rows = [
                    tuple(
                        Contestant(stack.enter_context(Annotator(load(), examples=shown, bias=NEVER)))
                        for shown in (examples[:n], SameForEach(examples[:n]))
                    )
                    for n in shots
                ]
                race([contestant for row in rows for contestant in row], sentences)
                report(name, dict(zip(shots, rows, strict=True)), len(sentences))


def texts(path: Path) -> Iterator[Sentence]:
    return (s for document in read_ddi(path) for s in document if s.text.strip())


def backends(folder: Path, n_threads: int | None) -> Iterator[tuple[str, Callable[[], LogitsBackend]]]:
    """Yield loaders of the same model for both back ends; each call loads it anew."""
    from constrained_ner.backends.llamacpp.backend import LlamaCppBackend
    from constrained_ner.backends.transformers.backend import TransformersBackend

    sizes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": CONTEXT}
    model = make_tiny_instruct(folder / "model", **sizes)
    gguf = folder / "model.gguf"
    export_model(str(model), gguf, type="f32")
    yield "llama.cpp", lambda: LlamaCppBackend(gguf, context=CONTEXT, threads=n_threads)
    if n_threads:
        import torch

        torch.set_num_threads(n_threads)
    yield "transformers", lambda: TransformersBackend(str(model), device="cpu", batch=1)


@dataclass
class Contestant:
    """An annotator, and what it has spent so far."""

    annotator: Annotator
    elapsed_s: float = 0.0
    n_tokens: int = 0
    n_prompt_tokens: int = 0
    n_passes: int = 0

    def run(self, sentences: Sequence[Sentence]) -> None:
        began_s = time.perf_counter()
        annotated = list(self.annotator.run(sentences))
        self.elapsed_s += time.perf_counter() - began_s
        self.n_tokens += sum(a.effort.n_tokens for a in annotated)
        self.n_prompt_tokens += sum(a.effort.n_prompt_tokens for a in annotated)
        self.n_passes += sum(a.effort.n_passes for a in annotated)


def race(contestants: Sequence[Contestant], sentences: Sequence[Sentence]) -> None:
    for contestant in contestants:
        list(contestant.annotator.run(sentences[:1]))  # so that buffers have their final size
    for start in range(0, len(sentences), BLOCK):
        for contestant in contestants:
            contestant.run(sentences[start : start + BLOCK])


def report(name: str, rows: dict[int, tuple[Contestant, ...]], n_sentences: int) -> None:
    """Print one line per number of examples, with times as multiples of the first line's."""
    print(f"{name:<14}{'per sentence, shared prefix':>40}{'per sentence, its own examples':>40}")
    print(f"{'examples':>8}{'prompt':>8}" + f"{'passes':>12}{'tokens':>8}{'ms':>9}{'x':>7}" * 2)
    unit_s = next(iter(rows.values()))[0].elapsed_s
    for n, row in rows.items():
        print(f"{n:>8}{row[0].n_prompt_tokens / n_sentences:>8.0f}", end="")
        for c in row:
            passes, tokens = c.n_passes / n_sentences, c.n_tokens / n_sentences
            print(f"{passes:>12.2f}{tokens:>8.0f}{1e3 * c.elapsed_s / n_sentences:>9.1f}", end="")
            print(f"{c.elapsed_s / unit_s:>7.2f}", end="")
        print()


if __name__ == "__main__":
    main()
