"""Compares copy-draft with stepwise on a model of usual proportions: a Llama with random weights.

    python benchmarks/larger_model.py XML [--limit N] [--width N] [--layers N] [--names XML]

The prompt (instructions and examples, a few hundred tokens) is computed once. The decisions are those of the
gold annotation, since random weights make no sensible ones. The work of every forward pass is real. The
bundled model is the other extreme: there, a pass over many tokens costs nearly as much per token as a pass
over one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from constrained_ner import DDI, Annotator, Sentence
from constrained_ner.annotation.annotator import bundled_model
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.backends.transformers.backend import TransformersBackend
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.legal import LegalTokens
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.training.bundled_model.restore import restore
from constrained_ner.training.bundled_model.save import save_transformers


class GoldDecisions(TransformersBackend):
    """Runs the model, but raises the logits of the gold answer's tokens above all others."""

    chat_template = None  # the plain one, which shows instructions and examples
    gold: Sequence[int] = ()
    n_prompt = 0
    held: Sequence[int] = ()

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        (step,) = steps
        self.held = [*self.held[: step.keep], *step.token_ids]
        (scored,) = super().forward(steps)
        return [[self._decided(step, n, scores) for n, scores in enumerate(scored)]]

    def _decided(self, step: Step, n: int, scores: Scores | None) -> Scores | None:
        watch = step.watch[n]
        if scores is None or watch is None:
            return scores
        written = list(self.held[self.n_prompt : step.keep + n + 1])
        wanted = self.gold[len(written)] if written == self.gold[: len(written)] else watch[0]
        return replace(scores, logits=np.array([token_id == wanted for token_id in watch], dtype=np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("xml", type=Path)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--names", type=Path, help="DDI XML whose names are expected in drafts")
    options = parser.parse_args()
    every = [s for document in read_ddi(options.xml) for s in document if s.text.strip()]
    sentences = every[: options.limit]
    with tempfile.TemporaryDirectory() as folder:
        n_parameters = write_random_llama(Path(folder), options.width, options.layers)
        backend = GoldDecisions(folder, batch=1)
        names = gold_names(options.names) if options.names else ()
        race(backend, sentences, every[-3:], names, n_parameters)


def write_random_llama(folder: Path, width: int, n_layers: int) -> int:
    """Write a Llama with random weights and the bundled model's tokenizer; return how many weights."""
    torch.manual_seed(0)
    _, tokenizer = restore(bundled_model())
    config = LlamaConfig(
        vocab_size=tokenizer.n_tokens,
        hidden_size=width,
        intermediate_size=int(2.75 * width),
        num_hidden_layers=n_layers,
        num_attention_heads=width // 64,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.end,
    )
    model = LlamaForCausalLM(config)
    save_transformers(model, tokenizer, folder)
    return model.num_parameters()


def gold_names(xml: Path) -> list[tuple[str, str]]:
    """Read the names that are marked in another file, to expect them here."""
    return [(m.text, m.type) for document in read_ddi(xml) for s in document for m in s.mentions]


def race(
    backend: GoldDecisions,
    sentences: Sequence[Sentence],
    examples: Sequence[Sentence],
    names: Sequence[tuple[str, str]],
    n_parameters: int,
) -> None:
    decoders: tuple[Literal["stepwise", "copy-draft"], ...] = ("stepwise", "copy-draft")
    annotators = {d: Annotator(backend, examples=examples, decoder=d, names=names) for d in decoders}
    n_prefix = len(annotators["stepwise"]._prompt.prefix_ids)
    print(f"{n_parameters / 1e6:.0f}M parameters, a prefix of {n_prefix} tokens")
    machine = TagMachine(Markup(DDI))
    tag_tokens = TagTokens(machine, backend.vocabulary)
    seconds = dict.fromkeys(decoders, 0.0)
    passes = dict.fromkeys(seconds, 0)
    for number, sentence in enumerate([examples[0], *sentences]):  # the first one warms up
        kept, _ = Markup(DDI).expressible(sentence)
        answer = LegalTokens(Constraint(sentence.text, machine), tag_tokens).encode(kept)
        backend.gold = [token_id for token_id, _ in answer]
        for name, ner in annotators.items():
            backend.n_prompt = len(ner._prompt.ids(sentence.text))
            backend.held = ()
            began_s = time.perf_counter()
            (annotated,) = ner.run([sentence])
            if number:
                seconds[name] += time.perf_counter() - began_s
                passes[name] += annotated.effort.n_passes
            found = [(m.spans, m.type) for m in annotated.sentence.mentions]
            assert found == [(m.spans, m.type) for m in kept], sentence.id
    for name in seconds:
        n = len(sentences)
        print(
            f"{name:<12}{passes[name] / n:>8.2f} passes per sentence{seconds[name] / n:>8.2f} s per sentence"
        )
    print(f"copy-draft is {seconds['stepwise'] / seconds['copy-draft']:.1f} times faster")


if __name__ == "__main__":
    main()
