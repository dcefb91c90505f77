"""What lifts a model that was not tuned: prompts compared by how well they tell where names begin.

Decoding hundreds of sentences with every prompt takes hours for a small processor. This takes one pass a
sentence: along the gold answer, at every place where a tag may open, how much the model prefers opening to
copying on. With the operating point in mind only the order of these margins matters, not where zero is. So:

AP        average precision of ranking all places by their margin, the right ones being where names begin
best F1   of "a name begins here" at the best threshold; what an operating point could reach, for beginnings
type      share of names that get the right type, given that one is opened
bias      the threshold of the best F1: what would have to be added to opening

    python benchmarks/few_shot.py train.xml --model MODEL.gguf --n 40

The sentences come from the file of the examples, from documents that show none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends import load_backend
from constrained_ner.data import Document, Sentence
from constrained_ner.decoding.survey import Survey
from constrained_ner.errors import UserError
from constrained_ner.prompting.chat_template import PLAIN_TEMPLATE
from constrained_ner.prompting.examples.request import ExampleRequest
from constrained_ner.runs.held_out import held_out
from constrained_ner.schema import DDI
from constrained_ner.text.corpus import read_labelled

RECORDS = (
    "{% for message in messages %}{% if message['role'] == 'user' %}Sentence:\n{{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}Tagged:\n{{ message['content'] }}\n\n"
    "{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}Tagged:\n"
)
TEMPLATES = {"own": None, "plain": PLAIN_TEMPLATE, "records": RECORDS}
N_SHOTS = 5


def variants(own_template: bool) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Name, template, and how the settings differ from 5 diverse examples with the plain prompt."""
    best = "own" if own_template else "records"
    for template in TEMPLATES if own_template else ("plain", "records"):
        yield f"template {template}", template, {}
    for shots in (0, 3, 10, 20):
        yield f"{shots} examples", best, {"shots": shots}
    for select in ("random", "similar"):
        yield f"{select} examples", best, {"select": select}
    yield "reversed order", best, {"order": "reversed"}
    yield "with names only", best, {"order": "names"}
    yield "2 of 5 without names", best, {"order": "negatives"}
    yield "instructions in each turn", best, {"instructions": "each"}
    for prompt in ("bare", "strict", "guide"):
        yield f"prompt {prompt}", best, {"prompt": prompt}


def arranged(examples: list[Sentence], pool: list[Document], order: object) -> list[Sentence]:
    """The examples in another order, or others of the same kind."""
    if order == "reversed":
        return examples[::-1]
    sentences = [s for document in pool for s in document]
    if order == "names":
        others = [s for s in sentences if s.mentions and s not in examples]
        named = [e for e in examples if e.mentions]
        return [*named, *others[: len(examples) - len(named)]]
    if order == "negatives":
        others = [s for s in sentences if not s.mentions and len(s.text) > 40 and s not in examples]
        named = [e for e in examples if e.mentions]
        return [named[0], others[0], named[1], others[1], named[2]]
    return examples


def places(sentence: Sentence, survey: Survey) -> Iterator[tuple[float, bool]]:
    """Where a tag may open along the gold answer: the margin of opening, and whether a name begins there."""
    constraint = survey.legal_tokens.constraint
    machine = constraint.machine
    starts = {len(sentence.text[: mention.start].encode()) for mention in sentence.mentions}
    for state, logits in survey.logits.items():
        if len(state) != 1 or machine.context(state) not in (machine.START, machine.OUTSIDE):
            continue
        opening, other, at = [], [], set()
        for (_, after), logit in zip(survey.legal_at(state).items(), logits, strict=True):
            if after[0] >= 0 and machine.begins_tag(machine.OUTSIDE, machine.context(after)):
                opening.append(logit)
                at.add(machine.position(after))
            else:
                other.append(logit)
        if opening and other:
            yield max(opening) - max(other), bool(at & starts)


def types_right(sentence: Sentence, survey: Survey) -> Iterator[bool]:
    """For each name of the gold answer, whether the model would give it its type."""
    machine = survey.legal_tokens.constraint.machine
    by_start = {len(sentence.text[: m.start].encode()): m.type for m in sentence.mentions}
    for start, name in by_start.items():
        right = True
        for state, logits in survey.logits.items():
            if len(state) != 1 or machine.position(state) != start:
                continue
            context = machine.context(state)
            if context in machine.opening[name] and context not in machine.fresh.values():
                best = max(zip(survey.legal_at(state).values(), logits, strict=True), key=lambda p: p[1])[0]
                right &= machine.context(best) in machine.opening[name]
        yield right


def figures(surveyed: list[tuple[Sentence, Survey]]) -> dict[str, float]:
    found = sorted((p for s, survey in surveyed for p in places(s, survey)), reverse=True)
    right = np.array([label for _, label in found])
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    f1 = 2 * hits / (np.arange(1, len(right) + 1) + right.sum())
    typed = [t for s, survey in surveyed for t in types_right(s, survey)]
    best = int(np.argmax(f1))
    return {
        "AP": 100 * float(precision[right].mean()),
        "best F1": 100 * float(f1[best]),
        "type": 100 * float(np.mean(typed)),
        "bias": -found[best][0],
    }


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--only", nargs="*", help="Names of variants.")
    asked = parser.parse_args()
    documents = read_labelled(asked.examples, notify=lambda _: None)
    ids = {s.id for document in documents for s in document}
    backend = load_backend(asked.model, threads=1)
    own, has_own = backend.chat_template, backend.chat_template is not None
    request = ExampleRequest(asked.examples, 20, "diverse")
    shown = [s for n in (3, 5, 10, 20) for s in replace(request, n=n).choose(documents, ids, (), DDI)]
    shown += list(replace(request, n=N_SHOTS, select="random").choose(documents, ids, (), DDI))
    labelled = [s for s in held_out(documents, ids, shown, 4 * asked.n) if s.mentions][: asked.n]
    measured = {s.id for s in labelled}
    pool = [d for d in documents if not any(s.id in measured for s in d)]
    usable = {s.id for document in pool for s in document}
    n_names = sum(len(s.mentions) for s in labelled)
    print(f"{asked.model}: {len(labelled)} sentences with {n_names} names", flush=True)
    for name, template, changed in variants(has_own):
        if asked.only and name not in asked.only:
            continue
        options = {"shots": N_SHOTS, "select": "diverse", **changed}
        order = options.pop("order", None)
        n, select = options.pop("shots"), options.pop("select")
        examples = replace(request, n=n, select=select).choose(pool, usable, (), DDI) if n else []
        if order is not None:
            examples = arranged(list(examples), pool, order)
        backend.chat_template = TEMPLATES[template] or own  # type: ignore[misc]
        settings = Settings(examples=examples, consistency=False, **options)  # type: ignore[arg-type]
        began = time.process_time()
        try:
            ner = Annotator(backend, settings, notify=lambda text: print(f"note: {text}"))
            found = figures(list(ner.surveys(labelled, reach=-1.0, copy=False)))
        except UserError as error:
            print(f"{name:<28}{error}", flush=True)
            continue
        shown_figures = "".join(f"{key} {value:5.1f}   " for key, value in found.items())
        print(f"{name:<28}{shown_figures}{time.process_time() - began:6.1f} s of processor", flush=True)


if __name__ == "__main__":
    main()
