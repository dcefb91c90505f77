"""What the constraint costs on a large vocabulary, next to grammar engines with the same language.

    python benchmarks/constraint.py ggml-vocab-llama-bpe.gguf [sentences.xml] [--native-only]

Every engine follows the same tokens, the answer with the gold mentions, and gives its legal set before each.
The columns are processor time, on which other programs have little effect:

    tables    seconds, once per vocabulary
    grammar   writing the grammar for the engine: our own work, not counted further
    build     compiling it (ours: the automaton; the sentence is tokenised at its first token)
    token     the legal set as a list of ids, and one step
    sentence  build and all tokens
    ratio     to ours, canonical, on the same sentences

All but tables and ratio are medians over the sentences, in microseconds. Engines that take seconds for each
sentence get only the shortest ones. llguidance runs without its forced tokens, which would change its
language (see `decoding.engines.llguidance`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

from constrained_ner.backends.llamacpp.model import LlamaModel
from constrained_ner.backends.llamacpp.vocabulary import vocabulary_of_llama
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.grammars import render
from constrained_ner.constraint.legal import END, LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Sentence
from constrained_ner.decoding.engines import Engine, Spellings
from constrained_ner.decoding.engines.gbnf import GbnfEngine
from constrained_ner.decoding.engines.llguidance import LlguidanceEngine
from constrained_ner.decoding.engines.outlines import OutlinesEngine
from constrained_ner.decoding.engines.xgrammar import XgrammarEngine
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.schema import DDI


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and the tokens of its answer, including the stop token."""

    text: str
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class Timing:
    """Processor seconds for one sentence."""

    grammar_s: float
    build_s: float
    tokens_s: float
    n_tokens: int

    @property
    def token_s(self) -> float:
        return self.tokens_s / self.n_tokens

    @property
    def sentence_s(self) -> float:
        return self.build_s + self.tokens_s


def time_ours(example: Example, tags: TagTokens, rule: TokenRule) -> Timing:
    start_s = process_time()
    constraint = Constraint(example.text, tags.machine, leading_space=tags.vocabulary.leading_space)
    legal_tokens = LegalTokens(constraint, tags, rule)
    built_s = process_time()
    state = legal_tokens.start
    for token_id in example.token_ids:
        state = legal_tokens.legal(state)[token_id]
    end_s = process_time()
    assert state == END
    return Timing(0.0, built_s - start_s, end_s - built_s, len(example.token_ids))


def time_engine(example: Example, engine: Engine, tags: TagTokens) -> Timing:
    constraint = Constraint(example.text, tags.machine, leading_space=tags.vocabulary.leading_space)
    start_s = process_time()
    grammar = render(constraint, engine.dialect)
    written_s = process_time()
    matcher = engine.start(grammar)
    built_s = process_time()
    for number, token_id in enumerate(example.token_ids, start=1):
        assert token_id in matcher.legal_ids(), f"{example.text!r}: token {token_id} is not legal"
        if number < len(example.token_ids):
            matcher.accept(token_id)
    end_s = process_time()
    return Timing(written_s - start_s, built_s - written_s, end_s - built_s, len(example.token_ids))


def examples_of(sentences: Sequence[Sentence], tags: TagTokens) -> list[Example]:
    found = []
    for sentence in sentences:
        mentions, _ = tags.machine.markup.expressible(sentence)
        constraint = Constraint(sentence.text, tags.machine, leading_space=tags.vocabulary.leading_space)
        steps = LegalTokens(constraint, tags).encode(mentions)
        found.append(Example(sentence.text, [token_id for token_id, _ in steps]))
    return found


def row(name: str, tables_s: float, timings: Sequence[Timing], ours: Sequence[Timing]) -> str:
    ratios = [theirs.sentence_s / one.sentence_s for theirs, one in zip(timings, ours, strict=True)]
    columns = [median(getattr(t, part) for t in timings) * 1e6 for part in PARTS]
    cells = "".join(f"{column:12.1f}" for column in columns)
    return f"{name:18}{tables_s:8.2f}{cells}{median(ratios):10.1f}{len(timings):11d}"


PARTS = ("grammar_s", "build_s", "token_s", "sentence_s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("vocabulary", type=Path, help="a GGUF file; its weights are not read")
    parser.add_argument("sentences", type=Path, nargs="?", default=Path("examples/sample.xml"))
    parser.add_argument("--limit", type=int, default=200, help="how many sentences to time (default 200)")
    parser.add_argument(
        "--gbnf-limit", type=int, default=5, help="for llama.cpp, the shortest ones (default 5)"
    )
    parser.add_argument("--outlines-limit", type=int, default=1, help="for outlines-core (default 1)")
    parser.add_argument("--native-only", action="store_true", help="leave out the engines of others")
    options = parser.parse_args()
    model = LlamaModel(options.vocabulary, vocab_only=True)
    start_s = process_time()
    tags = TagTokens(TagMachine(Markup(DDI)), vocabulary_of_llama(model))
    tags.vocabulary.trie  # noqa: B018  (once per vocabulary, like the other engines' tables)
    tables_s = process_time() - start_s
    sentences = [s for document in read_ddi(options.sentences) for s in document if s.text]
    stride = max(1, len(sentences) // options.limit)
    examples = examples_of(sentences[::stride][: options.limit], tags)
    examples.sort(key=lambda example: len(example.token_ids))
    n_tokens = sum(len(example.token_ids) for example in examples)
    print(
        f"{len(examples)} sentences of {options.sentences}, {n_tokens / len(examples):.1f} tokens each; "
        f"vocabulary of {len(tags.vocabulary)}"
    )
    heads = "".join(f"{part.removesuffix('_s'):>12}" for part in PARTS)
    print(f"{'':18}{'tables':>8}{heads}{'ratio':>10}{'sentences':>11}")
    ours = [time_ours(example, tags, "canonical") for example in examples]
    print(row("ours, canonical", tables_s, ours, ours))
    print(row("ours, any", tables_s, [time_ours(example, tags, "any") for example in examples], ours))
    if options.native_only:
        return
    spellings = Spellings(tags)
    engines: dict[str, tuple[Callable[[], Engine], int]] = {
        "llguidance": (lambda: LlguidanceEngine(spellings), len(examples)),
        "xgrammar": (lambda: XgrammarEngine(spellings), len(examples)),
        "llama.cpp, GBNF": (lambda: GbnfEngine(spellings, model), options.gbnf_limit),
        "outlines-core": (lambda: OutlinesEngine(spellings), options.outlines_limit),
    }
    for name, (load, limit) in engines.items():
        start_s = process_time()
        engine = load()
        tables_s = process_time() - start_s
        timings = [time_engine(example, engine, tags) for example in examples[:limit]]
        if timings:
            print(row(name, tables_s, timings, ours[: len(timings)]), flush=True)


if __name__ == "__main__":
    main()
