"""What a peer's script is given, and what it answers. Standard library only: it runs in any environment.

    python PEER.py job.json answers.jsonl [OPTION ...]

A script makes a function that finds the names in a text, and hands it to `answer`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Name:
    """A name that was found, as the peer says it.

    text: as the model wrote it; None if the peer does not tell, but it is not what the sentence has. start,
    end: in code points, half-open; None if the peer found no place.
    """

    text: str | None
    type: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Job:
    """What all peers are given.

    task: what to find, in a sentence. labels: what each type means. examples, sentences: `text`, and for
    examples `entities` (start, end, text, type). model: a GGUF file. address: of a server with it, up to
    `/v1`; empty if there is none. server: the number of its process. max_tokens: the most that an answer may
    have.
    """

    task: str
    labels: dict[str, str]
    examples: list[dict[str, Any]]
    sentences: list[dict[str, Any]]
    model: str
    address: str
    max_tokens: int
    server: int | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a sentence.

    lost: why nothing, or not all, of the answer could be used; None if all went well. seconds: of processor
    time, of the peer and of the server. n_tokens: generated here; 0 if a server generated them.
    """

    id: str
    names: list[Name] = field(default_factory=list)
    lost: str | None = None
    seconds: float = 0.0
    n_tokens: int = 0

    @classmethod
    def parse(cls, line: str) -> Answer:
        record = json.loads(line)
        return cls(**{**record, "names": [Name(**name) for name in record["names"]]})


class AnswerError(Exception):
    """The model's answer has not the form that the peer asked for. names: what could be used of it."""

    def __init__(self, reason: str, names: list[Name] | None = None) -> None:
        super().__init__(reason)
        self.names = names or []


def read_job() -> Job:
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def options() -> list[str]:
    return sys.argv[3:]


def answer(job: Job, find: Callable[[str], list[Name]], n_tokens: Callable[[], int] = lambda: 0) -> None:
    """Write the answers for all sentences, one by one. What fails is an answer that is lost.

    n_tokens: called after each sentence; how many tokens were generated for it here.
    """
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        for sentence in job.sentences:
            began = processor_time(job)
            names: list[Name] = []
            lost = None
            try:
                names = find(sentence["text"])
            except AnswerError as error:
                names, lost = error.names, str(error)
            except Exception as error:  # whatever a peer raises: the others go on
                lost = f"{type(error).__name__}: {error}"[:300]
            seconds = processor_time(job) - began
            found = Answer(sentence["id"], names, lost, seconds, n_tokens())
            file.write(json.dumps(asdict(found)) + "\n")
            file.flush()


def processor_time(job: Job) -> float:
    """Seconds so far, of this process and of the server's."""
    own = time.process_time()
    if job.server is None:
        return own
    fields = Path(f"/proc/{job.server}/stat").read_text().rsplit(")", 1)[1].split()
    return own + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(job: Job, messages: list[dict[str, str]]) -> str:
    """The server's greedy answer, for peers that leave the asking to their user."""
    from openai import OpenAI

    client = OpenAI(base_url=job.address, api_key="none", max_retries=0, timeout=3600)
    reply = client.chat.completions.create(
        model="model", messages=messages, temperature=0, max_tokens=job.max_tokens
    )
    return reply.choices[0].message.content or ""
