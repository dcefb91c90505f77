"""The forms of an answer on one model: this package's two, and those of others (`experiments/peers`).

    python benchmarks/answer_forms.py devel.xml train.xml --model MODEL.gguf [--n 60] [--to FOLDER]

The same sentences, and the same examples in the same order, drawn at random. Nothing is tuned, no bias, no
lexicon, no least confidence, no consistency within a document; greedy. What is done is kept in --to, sentence
by sentence, and a run that was stopped goes on there.

typed, untyped   F1
absent           names, or positions, that are not in the sentence as they are written
broken           answers that are not of their form to the end (JSON cut off, a tag never closed)
passes, tokens   forward passes and evaluated tokens a sentence, without the prefix that all share; a form
                 that is not drafted needs a pass for each token
seconds          of processor time a sentence
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends import LogitsBackend, load_backend
from constrained_ner.constraint.answer_form import AnswerName
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import INEXACT, Document, Mention, Sentence, Span
from constrained_ner.evaluation import evaluate
from constrained_ner.experiments.peers.forms import FORMS
from constrained_ner.experiments.peers.greedy import Asked
from constrained_ner.experiments.table import Table
from constrained_ner.prompting.examples.fixed import random
from constrained_ner.prompting.examples.pool import Pool
from constrained_ner.runs.splits import keep_apart
from constrained_ner.schema import DDI
from constrained_ner.text.corpus import read_labelled


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one sentence. found: start, end and type of each name."""

    id: str
    found: list[tuple[int, int, str]]
    absent: int
    broken: bool
    passes: int
    tokens: int
    seconds: float = 0.0

    @classmethod
    def of(cls, sentence: Sentence, absent: int, broken: bool, passes: int, tokens: int) -> Result:
        found = [(m.start, m.end, m.type) for m in sentence.mentions]
        return cls(sentence.id, found, absent, broken, passes, tokens)


Run = Callable[[Sequence[Sentence]], Iterator[Result]]


def examples_with_every_type(
    documents: Sequence[Document], evaluated: Sequence[Sentence], path: Path, shots: int, seed: int = 0
) -> list[Sentence]:
    """Sentences drawn at random; the last ones give way to the next ones with the types that none has."""
    every = [sentence for document in documents for sentence in document]
    usable = keep_apart(every, evaluated, used_path=path, evaluated_path="", purpose="examples")
    pool, _ = Pool.of(documents, Markup(DDI)).restricted({s.id for s in usable}).distinct()
    drawn = random(pool, len(pool), seed)
    chosen, others = drawn[:shots], drawn[shots:]
    missing = set(DDI.type_names) - {m.type for sentence in chosen for m in sentence.mentions}
    for at, entity_type in enumerate(sorted(missing), start=1):
        chosen[-at] = next(s for s in others if any(m.type == entity_type for m in s.mentions))
    return chosen


def own(
    backend: LogitsBackend,
    examples: Sequence[Sentence],
    answer: AnswerName,
    constrained: bool,
    sentences: Sequence[Sentence],
) -> Iterator[Result]:
    """A form of this package. What is not verbatim in a free answer is aligned with the sentence."""
    settings = Settings(
        answer=answer, constrained=constrained, examples=examples, consistency=False, min_confidence=0.0
    )
    ner = Annotator(backend, settings, notify=lambda _: None)
    for annotated in ner.run(sentences):
        effort = annotated.effort
        aligned = {m.text for m in annotated.sentence.mentions if m.provenance in INEXACT}
        yield Result.of(
            annotated.sentence,
            effort.n_invented + len(aligned),
            annotated.failure is not None or not annotated.verbatim or bool(effort.n_unfinished),
            effort.n_passes,
            effort.n_tokens,
        )


def peer(
    backend: LogitsBackend,
    examples: Sequence[Sentence],
    form: str,
    constrained: bool,
    sentences: Sequence[Sentence],
) -> Iterator[Result]:
    """A form of others."""
    asked = Asked(backend, FORMS[form](Markup(DDI)), examples, constrained=constrained)
    for answered in asked.answers(sentences):
        reading = answered.reading
        yield Result.of(
            answered.sentence, reading.n_absent, reading.broken, answered.n_passes, answered.n_tokens
        )


def runs(backend: LogitsBackend, examples: Sequence[Sentence]) -> dict[str, Run]:
    found: dict[str, Run] = {
        "list, constrained": partial(own, backend, examples, "list", True),
        "list, free and aligned": partial(own, backend, examples, "list", False),
        "tags, constrained": partial(own, backend, examples, "tags", True),
        "tags, free and aligned": partial(own, backend, examples, "tags", False),
    }
    for name, made in FORMS.items():
        found[f"{name}, free"] = partial(peer, backend, examples, name, False)
        if made(Markup(DDI)).grammar("") is not None:
            found[f"{name}, constrained to substrings"] = partial(peer, backend, examples, name, True)
    return found


def measure(run: Run, sentences: Sequence[Sentence], kept: Path) -> list[Result]:
    """The results of the sentences: those in a file, and the others, which are added to it one by one."""
    done = [Result(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []
    left = sentences[len(done) :]
    if not left:
        return done[: len(sentences)]
    list(run(left[:1]))  # computes the prefix that all sentences share
    began = time.process_time()
    with kept.open("a") as file:
        for result in run(left):
            ended = time.process_time()
            done.append(replace(result, seconds=ended - began))
            file.write(json.dumps(asdict(done[-1])) + "\n")
            file.flush()
            began = time.process_time()
    return done


def row(form: str, results: Sequence[Result], sentences: Sequence[Sentence]) -> tuple[str, ...]:
    texts = {s.id: s.text for s in sentences}
    gold = [(s.id, m) for s in sentences for m in s.mentions]
    predicted = [
        (r.id, Mention((Span(start, end),), entity_type, texts[r.id][start:end]))
        for r in results
        for start, end, entity_type in r.found
    ]
    evaluation = evaluate(gold, predicted)
    n = len(results)
    return (
        form,
        f"{100 * evaluation.micro.f1:.1f}",
        f"{100 * evaluation.no_class.f1:.1f}",
        str(len(predicted)),
        str(sum(r.absent for r in results)),
        str(sum(r.broken for r in results)),
        f"{sum(r.passes for r in results) / n:.1f}",
        f"{sum(r.tokens for r in results) / n:.0f}",
        f"{sum(r.seconds for r in results) / n:.2f}",
    )


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("input", type=Path, help="annotated sentences to measure on")
    parser.add_argument("examples", type=Path, help="annotated sentences to draw examples from")
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=60, help="sentences: the first ones that have a text")
    parser.add_argument("--shots", type=int, default=20)
    parser.add_argument("--only", nargs="*", help="names of forms")
    parser.add_argument("--to", type=Path, default=Path("answer_forms"), help="folder for rows and table")
    asked = parser.parse_args()
    every = [s for d in read_labelled(asked.input, notify=lambda _: None) for s in d if s.text.strip()]
    sentences = every[: asked.n]
    documents = read_labelled(asked.examples, notify=lambda _: None)
    examples = examples_with_every_type(documents, every, asked.examples, asked.shots)
    backend = load_backend(asked.model, threads=1, context=8192)
    assert backend.shows_logits, "a local model"
    asked.to.mkdir(parents=True, exist_ok=True)
    stem = f"{Path(asked.model).stem}, {asked.shots} shots"
    rows = []
    for form, run in runs(backend, examples).items():
        if not asked.only or form in asked.only:
            results = measure(run, sentences, asked.to / f"{stem}, {form}.jsonl")
            rows.append(row(form, results, sentences))
            print(*rows[-1], sep=" | ", flush=True)
    header = ("form", "typed", "untyped", "found", "absent", "broken", "passes", "tokens", "seconds")
    n_names = sum(len(s.mentions) for s in sentences)
    print(f"\n{asked.model}: {len(sentences)} sentences with {n_names} names, {asked.shots} examples\n")
    print(Table(header, tuple(rows)).markdown())


if __name__ == "__main__":
    main()
