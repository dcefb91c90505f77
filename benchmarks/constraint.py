"""What the constraint costs on a large vocabulary, beside llguidance and llama.cpp on the same language.

    python benchmarks/constraint.py ggml-vocab-llama-bpe.gguf [sentences.xml]

Every engine follows the same tokens, the answer with the gold mentions, and gives its legal set before each
one. Ours is a sparse set; llguidance fills a bit mask, which is not applied here; llama.cpp visits an array
of all tokens, so it gets a few sentences only. Writing the grammar down is not counted for them. The figures
are medians over the sentences, which a busy machine alters less than means.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import llama_cpp
import llguidance.llamacpp
import llguidance.numpy
import numpy as np

from constrained_ner.backends.llamacpp_model import LlamaModel, vocabulary_of_llama
from constrained_ner.constraint import Constraint, TagMachine
from constrained_ner.corpora.ddi import read_ddi
from constrained_ner.data import Mention, Sentence
from constrained_ner.grammar import gbnf, lark
from constrained_ner.legal import END, LegalTokens, Rule, TagTokens
from constrained_ner.markup import Markup
from constrained_ner.schema import DDI


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence, the mentions of its answer, and the tokens of it."""

    text: str
    mentions: tuple[Mention, ...]
    token_ids: list[int]


@dataclass(slots=True)
class Timings:
    """Seconds per sentence, and its number of tokens."""

    build_s: list[float] = field(default_factory=list)
    tokens_s: list[float] = field(default_factory=list)
    n_tokens: list[int] = field(default_factory=list)

    def add(self, start_s: float, built_s: float, end_s: float, n_tokens: int) -> None:
        self.build_s.append(built_s - start_s)
        self.tokens_s.append(end_s - built_s)
        self.n_tokens.append(n_tokens)

    def sentence_s(self) -> float:
        return statistics.median(map(sum, zip(self.build_s, self.tokens_s, strict=True)))

    def row(self, name: str, ours_s: float) -> str:
        per_token_s = [s / n for s, n in zip(self.tokens_s, self.n_tokens, strict=True)]
        columns = (
            f"{statistics.median(self.build_s) * 1e6:12.0f}",
            f"{statistics.median(per_token_s) * 1e6:12.1f}",
            f"{self.sentence_s() * 1e6:12.0f}",
            f"{self.sentence_s() / ours_s:8.1f}",
            f"{len(self.build_s):10d}",
        )
        return f"{name:22}" + "".join(columns)


def time_ours(examples: list[Example], tags: TagTokens, rule: Rule) -> Timings:
    """Building, tokenising the sentence, and the legal set before each token."""
    timings = Timings()
    leading_space = tags.vocabulary.leading_space
    for example in examples:
        start_s = perf_counter()
        constraint = Constraint(example.text, tags.machine, leading_space=leading_space)
        legal = LegalTokens(constraint, tags, rule)
        built_s = perf_counter()
        state = constraint.start
        for token_id in example.token_ids:
            state = legal.legal(state)[token_id]
        timings.add(start_s, built_s, perf_counter(), len(example.token_ids))
        assert state == END
    return timings


def time_llguidance(examples: list[Example], tags: TagTokens, model: LlamaModel) -> Timings:
    tokenizer = llguidance.llamacpp.lltokenizer_from_vocab(model.vocab)
    mask = llguidance.numpy.allocate_token_bitmask(1, len(tags.vocabulary))
    timings = Timings()
    for example in examples:
        grammar = lark(Constraint(example.text, tags.machine))
        start_s = perf_counter()
        matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar))
        built_s = perf_counter()
        for token_id in example.token_ids[:-1]:
            llguidance.numpy.fill_next_token_bitmask(matcher, mask)
            matcher.consume_token(token_id)
        llguidance.numpy.fill_next_token_bitmask(matcher, mask)
        timings.add(start_s, built_s, perf_counter(), len(example.token_ids))
        assert matcher.is_accepting(), matcher.get_error()
    return timings


def time_llama_cpp(examples: list[Example], tags: TagTokens, model: LlamaModel) -> Timings:
    n_tokens = len(tags.vocabulary)
    fresh = np.zeros(n_tokens, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
    fresh["id"] = np.arange(n_tokens)
    timings = Timings()
    for example in examples:
        grammar = gbnf(Constraint(example.text, tags.machine)).encode()
        start_s = perf_counter()
        sampler = llama_cpp.llama_sampler_init_grammar(model.vocab, grammar, b"root")
        built_s = perf_counter()
        for token_id in example.token_ids[:-1]:
            row = fresh.copy()
            data = row.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
            candidates = llama_cpp.llama_token_data_array(data, n_tokens, -1, False)
            llama_cpp.llama_sampler_apply(sampler, ctypes.byref(candidates))
            assert row["logit"][token_id] == 0
            llama_cpp.llama_sampler_accept(sampler, token_id)
        timings.add(start_s, built_s, perf_counter(), len(example.token_ids) - 1)
        llama_cpp.llama_sampler_free(sampler)
    return timings


def examples_of(sentences: list[Sentence], tags: TagTokens) -> list[Example]:
    found = []
    for sentence in sentences:
        mentions, _ = tags.machine.markup.expressible(sentence)
        constraint = Constraint(sentence.text, tags.machine, leading_space=tags.vocabulary.leading_space)
        steps = LegalTokens(constraint, tags).encode(mentions)
        found.append(Example(sentence.text, mentions, [token_id for token_id, _ in steps]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("vocabulary", type=Path, help="a GGUF file; its weights are not read")
    parser.add_argument("sentences", type=Path, nargs="?", default=Path("examples/sample.xml"))
    parser.add_argument("--limit", type=int, default=200, help="sentences (default 200)")
    parser.add_argument("--llama-limit", type=int, default=3, help="sentences for llama.cpp (default 3)")
    options = parser.parse_args()
    model = LlamaModel(options.vocabulary, vocab_only=True)
    tags = TagTokens(TagMachine(Markup(DDI)), vocabulary_of_llama(model))
    tags.vocabulary.trie  # noqa: B018  (once per vocabulary, as the other engines' tables)
    sentences = [s for document in read_ddi(options.sentences) for s in document if s.text]
    stride = max(1, len(sentences) // options.limit)
    examples = examples_of(sentences[::stride][: options.limit], tags)
    engines: dict[str, Callable[[], Timings]] = {
        "ours, canonical": lambda: time_ours(examples, tags, "canonical"),
        "ours, any": lambda: time_ours(examples, tags, "any"),
        "llguidance, Lark": lambda: time_llguidance(examples, tags, model),
        "llama.cpp, GBNF": lambda: time_llama_cpp(examples[: options.llama_limit], tags, model),
    }
    n_tokens = sum(len(example.token_ids) for example in examples)
    print(
        f"{len(examples)} sentences of {options.sentences}, {n_tokens / len(examples):.1f} tokens each; "
        f"vocabulary of {len(tags.vocabulary)}; microseconds, medians"
    )
    heads = ("build", "per token", "per sentence")
    print(f"{'':22}" + "".join(f"{head:>12}" for head in heads) + f"{'ratio':>8}{'sentences':>10}")
    ours_s = 0.0
    for name, run in engines.items():
        timings = run()
        ours_s = ours_s or timings.sentence_s()
        print(timings.row(name, ours_s))


if __name__ == "__main__":
    main()
