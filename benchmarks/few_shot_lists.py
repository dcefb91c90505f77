"""What lifts lists of a model that was not tuned: one thing changed at a time, decoded for real.

    python benchmarks/few_shot_lists.py val.xml train.xml --model MODEL.gguf [--n 200] [--bias -2]

The first row is 20 random examples, the same bias for all types, and the list of public names. Every other
row changes one thing; its differences to the first have 95 % intervals over the same sentences (paired
bootstrap). Rows with "most of" keep the names that more than half of several rows have. Choose on documents
that are neither shown nor reported on: a fold of train.

What is done is kept in --to, row by row, and a run that was stopped goes on there. Seconds are of processor
time a sentence. The model runs through ONNX Runtime, int8 (`pip install '.[onnx]'`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends import load_backend
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.evaluation.intervals import Interval, SentenceCounts, bootstrap
from constrained_ner.evaluation.paired_test import paired_difference
from constrained_ner.experiments.table import Table
from constrained_ner.prompting.chat_template import PLAIN_TEMPLATE
from constrained_ner.prompting.examples.request import ExampleRequest
from constrained_ner.prompting.messages import Chooser
from constrained_ner.prompting.wording import PromptFile
from constrained_ner.schema import DDI, Schema
from constrained_ner.text.corpus import read_labelled

Found = dict[tuple[str, int, int, str], float]
"""Sentence id, start, end and type of each name -> its confidence."""
Examples = Sequence[Sentence] | Chooser


def named_first(examples: Sequence[Sentence]) -> list[Sentence]:
    return sorted(examples, key=lambda sentence: not sentence.mentions)


def named_last(examples: Sequence[Sentence]) -> list[Sentence]:
    return named_first(examples)[::-1]


def reversed_order(examples: Sequence[Sentence]) -> list[Sentence]:
    return list(examples)[::-1]


def only_named(examples: Sequence[Sentence]) -> list[Sentence]:
    return [sentence for sentence in examples if sentence.mentions]


NO_INSTRUCTIONS = PromptFile(sysprompt=(), usrprompt=("Sentence: {sentence}", "Names:"))
NO_TYPES = PromptFile(
    sysprompt=("List the names of drugs in the sentence, each with its type.",),
    usrprompt=("Sentence: {sentence}", "Names:"),
)
WITH_GUIDE = PromptFile(
    sysprompt=(*PromptFile.built_in("list").sysprompt, "How to decide:", "{guide}"),
    usrprompt=("Sentence: {sentence}", "Names:"),
)


@dataclass(frozen=True)
class Row:
    """How a row differs from the first.

    draw: fields of the request for examples. arrange: another order, or a part, of the examples. options:
    settings. template: instead of the model's own. types: one run for each type by itself.
    """

    draw: Mapping[str, Any] = field(default_factory=dict)
    arrange: Callable[[Sequence[Sentence]], Sequence[Sentence]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    types: bool = False


LISTED = ("drug", "brand")
"""The types that the list of public names has."""

FIRST = "20 random examples"
ROWS = {
    FIRST: Row(),
    **{f"{n} examples": Row(draw={"n": n}) for n in (0, 3, 5, 10, 40)},
    "another draw": Row(draw={"seed": 1}),
    "a third draw": Row(draw={"seed": 2}),
    "diverse": Row(draw={"select": "diverse"}),
    "10 similar": Row(draw={"select": "similar", "n": 10}),
    "reversed order": Row(arrange=reversed_order),
    "those with names last": Row(arrange=named_last),
    "those with names first": Row(arrange=named_first),
    "only those with names": Row(arrange=only_named),
    "instructions in each turn": Row(options={"instructions": "each"}),
    "no instructions": Row(options={"prompt": NO_INSTRUCTIONS}),
    "types not explained": Row(options={"prompt": NO_TYPES}),
    "with the guide": Row(options={"prompt": WITH_GUIDE}),
    "another template: plain text": Row(template=PLAIN_TEMPLATE),
    "places one by one (--occurrences)": Row(options={"occurrences": True}),
    "each type by itself": Row(types=True),
    "no lexicon": Row(options={"lexicon": "none", "lexicon_weight": {}}),
    "no bias": Row(options={"bias": {}}),
    "tags": Row(options={"answer": "tags", "prompt": None, "bias": {}}),
    "tags, opening +3": Row(
        options={"answer": "tags", "prompt": None, "bias": dict.fromkeys(DDI.type_names, 3.0)}
    ),
}
VOTES = {
    "most of three draws": (FIRST, "another draw", "a third draw"),
    "most of three orders": (FIRST, "reversed order", "those with names last"),
    "most of two draws and 10 similar": (FIRST, "another draw", "10 similar"),
}


class Bench:
    """A loaded model, and what is measured with it."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.evaluated = read_labelled(asked.input, notify=lambda _: None)
        every = [s for document in self.evaluated for s in document]
        self.sentences = [s for s in every if s.text.strip()][: asked.n]
        self.examples = asked.examples
        self.pool = read_labelled(asked.examples, notify=lambda _: None)
        self.usable = {s.id for document in self.pool for s in document} - {s.id for s in every}
        self.backend = load_backend(asked.model, threads=1, context=8192, backend="onnx")
        self.own_template = self.backend.chat_template
        self.first = Settings(
            answer="list",
            prompt="list",
            bias=dict.fromkeys(DDI.type_names, asked.bias),
            lexicon="public",
            lexicon_weight={"type": 5.0, "open": asked.open},
            consistency=False,
            min_confidence=0.0,
        )

    def chosen(self, row: Row) -> Examples:
        request = replace(ExampleRequest(self.examples, 20, "random"), **row.draw)
        if not request.n:
            return []
        found = request.choose(self.pool, self.usable, self.evaluated, DDI)
        return row.arrange(found) if row.arrange and isinstance(found, list) else found

    def run(self, row: Row) -> tuple[Found, float]:
        """What is found, and seconds of processor time a sentence."""
        self.backend.chat_template = row.template or self.own_template  # type: ignore[misc]
        settings = self.first.changed(**row.options)
        examples = self.chosen(row)
        if not row.types:
            return self._answers(settings.changed(examples=examples), self.sentences)
        found: Found = {}
        seconds = 0.0
        for entity_type in DDI.types:
            alone = settings.changed(
                schema=Schema(name=entity_type.name, types=(entity_type,)),
                examples=[of_type(example, entity_type.name) for example in examples],  # type: ignore[union-attr]
                bias={entity_type.name: settings.bias[entity_type.name]},
                **({} if entity_type.name in LISTED else {"lexicon": "none", "lexicon_weight": {}}),
            )
            more, spent = self._answers(alone, self.sentences)
            found |= more
            seconds += spent
        return one_type_a_place(found), seconds

    def _answers(self, settings: Settings, sentences: Sequence[Sentence]) -> tuple[Found, float]:
        ner = Annotator(self.backend, settings, notify=lambda _: None)
        list(ner.run(sentences[:1]))  # computes the prefix that all sentences share
        began = time.process_time()
        found: Found = {}
        for annotated in ner.run(sentences):
            for m in annotated.sentence.mentions:
                found[annotated.sentence.id, m.start, m.end, m.type] = m.confidence or 0.0
        return found, (time.process_time() - began) / len(sentences)


def of_type(sentence: Sentence, entity_type: str) -> Sentence:
    return replace(sentence, mentions=tuple(m for m in sentence.mentions if m.type == entity_type))


def one_type_a_place(found: Found) -> Found:
    """Of the types of a place, the one that is surest."""
    best: dict[tuple[str, int, int], tuple[float, str]] = {}
    for (sentence_id, start, end, entity_type), confidence in found.items():
        place = (sentence_id, start, end)
        best[place] = max(best.get(place, (0.0, "")), (confidence, entity_type))
    return {(*place, entity_type): confidence for place, (confidence, entity_type) in best.items()}


def most_of(rows: Sequence[Found]) -> Found:
    """What more than half of the rows have."""
    votes = Counter(name for found in rows for name in found)
    return {name: n / len(rows) for name, n in votes.items() if 2 * n > len(rows)}


def counts(sentences: Sequence[Sentence], found: Found, typed: bool) -> SentenceCounts:
    def as_counted(mention: Mention) -> Mention:
        return mention if typed else replace(mention, type="name")

    texts = {s.id: s.text for s in sentences}
    gold = [replace(s, mentions=tuple(map(as_counted, s.mentions))) for s in sentences]
    predicted = [
        (sentence_id, as_counted(Mention((Span(start, end),), entity_type, texts[sentence_id][start:end])))
        for sentence_id, start, end, entity_type in found
    ]
    return SentenceCounts.of(gold, predicted)


def cells(sentences: Sequence[Sentence], found: Found, first: Found) -> Iterator[str]:
    for typed in (True, False):
        own = counts(sentences, found, typed)
        yield f"{100 * bootstrap(own).micro.value:.1f}"
        if found is first:
            yield ""
        else:
            yield shown(paired_difference(own, counts(sentences, first, typed)).micro)


def shown(difference: Interval) -> str:
    value, low, high = (100 * part for part in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def kept_or_run(bench: Bench, name: str, folder: Path) -> tuple[Found, float]:
    path = folder / f"{name}.json"
    if not path.exists():
        found, seconds = bench.run(ROWS[name])
        path.write_text(json.dumps({"found": [[*key, value] for key, value in found.items()], "s": seconds}))
    record = json.loads(path.read_text())
    return {tuple(key): value for *key, value in record["found"]}, record["s"]  # type: ignore[misc]


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("input", type=Path, help="annotated sentences to measure on")
    parser.add_argument("examples", type=Path, help="annotated sentences to draw examples from")
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=200, help="sentences: the first ones that have a text")
    parser.add_argument("--bias", type=float, default=-2.0, help="of each type, where an entry begins")
    parser.add_argument("--open", type=float, default=4.0, help="the lexicon's weight of listing a name")
    parser.add_argument("--only", nargs="*", help="names of rows, besides the first")
    parser.add_argument("--to", type=Path, default=Path("few_shot_lists"), help="folder for rows and table")
    asked = parser.parse_args()
    bench = Bench(asked)
    folder = asked.to / f"{Path(asked.model).stem}, {Path(asked.input).stem}, {asked.n}"
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Found] = {}
    rows = []
    for name in ROWS:
        if asked.only is None or name in (FIRST, *asked.only):
            done[name], seconds = kept_or_run(bench, name, folder)
            rows.append((name, *cells(bench.sentences, done[name], done[FIRST]), f"{seconds:.2f}"))
            print(*rows[-1], sep=" | ", flush=True)
    for name, parts in VOTES.items():
        if all(part in done for part in parts):
            found = most_of([done[part] for part in parts])
            rows.append((name, *cells(bench.sentences, found, done[FIRST]), ""))
    header = ("", "typed", "difference", "untyped", "difference", "seconds")
    n_names = sum(len(s.mentions) for s in bench.sentences)
    print(f"\n{asked.model}: {len(bench.sentences)} sentences with {n_names} names\n")
    print(Table(header, tuple(rows)).markdown())


if __name__ == "__main__":
    main()
