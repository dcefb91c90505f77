"""Outlines: JSON under a schema, through its model for OpenAI's protocol. Places by string search.

A user of Outlines brings prompt and reader. The prompt is chat turns, an answer to each example; a name is at
its first place after the one before it, or else at its first place.
"""

from __future__ import annotations

import json

import outlines
from openai import OpenAI
from outlines.inputs import Chat
from outlines.types import JsonSchema
from seam import AnswerError, Job, Name, answer, read_job

INSTRUCTIONS = (
    "{task}\nList the names in the order of the sentence, as JSON: "
    '{{"names": [{{"name": ..., "type": ...}}]}}.\n'
    "The types are:\n{labels}"
)


def schema(labels: list[str]) -> str:
    entry = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "type": {"enum": labels}},
        "required": ["name", "type"],
        "additionalProperties": False,
    }
    names = {"names": {"type": "array", "items": entry}}
    return json.dumps(
        {"type": "object", "properties": names, "required": ["names"], "additionalProperties": False}
    )


def finder(job: Job):
    client = OpenAI(base_url=job.address, api_key="none", max_retries=0, timeout=3600)
    model = outlines.from_openai(client, "model")
    labels = "\n".join(f"{label}: {meaning}" for label, meaning in job.labels.items())
    opening = [{"role": "system", "content": INSTRUCTIONS.format(task=job.task, labels=labels)}]
    for example in job.examples:
        names = [{"name": e["text"], "type": e["type"]} for e in example["entities"]]
        opening.append({"role": "user", "content": example["text"]})
        opening.append(
            {"role": "assistant", "content": json.dumps({"names": names}, ensure_ascii=False)},
        )
    output_type = JsonSchema(schema(list(job.labels)))

    def find(text: str) -> list[Name]:
        chat = Chat([*opening, {"role": "user", "content": text}])
        written = model(chat, output_type, temperature=0, max_tokens=job.max_tokens)
        try:
            entries = json.loads(written)["names"]
        except ValueError:
            raise AnswerError("the JSON is cut off") from None
        return list(placed(text, [(entry["name"], entry["type"]) for entry in entries]))

    return find


def placed(text: str, names: list[tuple[str, str]]):
    done = 0
    for name, label in names:
        start = text.find(name, done)
        if start < 0:
            start = text.find(name)
        if start < 0 or not name:
            yield Name(name, label)
        else:
            done = start + len(name)
            yield Name(name, label, start, done)


if __name__ == "__main__":
    job = read_job()
    answer(job, finder(job))
