"""spacy-llm: its NER task with a model function that asks the server.

Option: v3 (the default: a numbered list in which each span has a reason) or v2 (the names of each label).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Iterable  # noqa: UP035 - spacy-llm compares types, and uses these

import spacy
from seam import AnswerError, Job, Name, answer, ask, options, read_job
from spacy_llm.registry import registry
from spacy_llm.tasks.span.examples import SpanReason


def finder(job: Job, version: str):
    written: list[str] = []

    @registry.llm_models("local-server.v1")
    def local_server():
        def answered(prompts: Iterable[Iterable[str]]) -> Iterable[Iterable[str]]:
            written[:] = [
                ask(job, [{"role": "user", "content": prompt}]) for shards in prompts for prompt in shards
            ]
            return [[answer] for answer in written]  # a sentence is one shard

        return answered

    shown = Path(sys.argv[2]).with_suffix(".examples.json")
    shown.write_text(json.dumps([_example(example, version) for example in job.examples]))
    task = {
        "@llm_tasks": f"spacy.NER.{version}",
        "labels": list(job.labels),
        "label_definitions": job.labels,
        "examples": {"@misc": "spacy.FewShotReader.v1", "path": str(shown)},
        "normalizer": {"@misc": "spacy.LowercaseNormalizer.v1"},
    }
    if version == "v3":
        task["description"] = job.task
    nlp = spacy.blank("en")
    nlp.add_pipe("llm", config={"task": task, "model": {"@llm_models": "local-server.v1"}})

    def find(text: str) -> list[Name]:
        doc = nlp(text)
        found = [Name(e.text, e.label_, e.start_char, e.end_char) for e in doc.ents]
        names, n_lines = written_names(written[0], version)
        known = [(name, label) for name, label in names if label.lower() in job.labels]
        found += [Name(name, label) for name, label in known if name.lower() not in text.lower()]
        if written[0].strip() and not n_lines:
            raise AnswerError("no line of the answer has the form", found)
        return found

    return find


def _example(example: dict, version: str) -> dict:
    if version == "v2":
        entities: dict[str, list[str]] = {}
        for e in example["entities"]:
            entities.setdefault(e["type"], []).append(e["text"])
        return {"text": example["text"], "entities": entities}
    spans = [
        {"text": e["text"], "is_entity": True, "label": e["type"], "reason": f"is a {e['type']}"}
        for e in example["entities"]
    ]
    return {"text": example["text"], "spans": spans}


def written_names(answer: str, version: str) -> tuple[list[tuple[str, str]], int]:
    """The names with labels that the answer has, as spacy-llm reads it, and how many lines have its form."""
    found, n_lines = [], 0
    for line in answer.strip().split("\n"):
        if version == "v2":
            label, colon, names = line.partition(":")
            n_lines += bool(colon)
            found += [(name.strip(), label.strip()) for name in names.split(",") if name.strip()]
            continue
        try:
            reason = SpanReason.from_str(line)
        except ValueError:
            continue
        n_lines += 1
        if reason.is_entity:
            found.append((reason.text, reason.label))
    return found, n_lines


if __name__ == "__main__":
    job = read_job()
    answer(job, finder(job, (options() or ["v3"])[0]))
