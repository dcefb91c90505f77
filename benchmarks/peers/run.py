"""This package and others on the same model, the same sentences and the same examples.

    python benchmarks/peers/run.py devel.xml train.xml --model MODEL.gguf --peers venv-peers/bin/python

Peers live in an environment of their own, so that theirs and ours need not agree:

    python -m venv venv-peers
    venv-peers/bin/pip install langextract[openai] spacy-llm outlines drug-named-entity-recognition

Those that want a server get llama.cpp's own (xllamacpp, in this environment), started anew for each peer, one
thread, one sentence at a time, greedy. What a peer answers is kept in --to, and not asked again.

typed, untyped   F1
found            places with a name
misplaced        names whose text is not what stands at their offsets
absent           names that the sentence does not have as they are written
lost             answers of which nothing, or not all, could be used: cut off, unreadable, exceptions
tokens           generated for a sentence (ours: forward passes, for what is certain is not generated)
seconds          of processor time a sentence, of the peer and of the server; the first sentence, for which
                 the prompt is read that all share, does not count
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "support")]

from answer_forms import examples_with_every_type  # noqa: E402
from scoring import Figures, figures  # noqa: E402
from seam import Answer, Job  # noqa: E402
from servers import free_port  # noqa: E402

from constrained_ner.constraint.markup import Markup  # noqa: E402
from constrained_ner.data import Sentence  # noqa: E402
from constrained_ner.experiments.table import Table  # noqa: E402
from constrained_ner.schema import DDI  # noqa: E402
from constrained_ner.text.corpus import read_labelled  # noqa: E402

SERVE = HERE.parents[1] / "tests" / "servers" / "serve_llama.py"
MAX_TOKENS = 256
TASK = "Find the names of drugs and of groups of drugs in the sentence."


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the table. own: it runs in this environment. server: it asks one."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    own: bool = False
    server: bool = True


PEERS = (
    Peer("LangExtract", "langextract_peer.py"),
    Peer("spacy-llm, NER v3", "spacy_llm_peer.py", ("v3",)),
    Peer("spacy-llm, NER v2", "spacy_llm_peer.py", ("v2",)),
    Peer("Outlines, JSON", "outlines_peer.py"),
    Peer("ours, list, free and aligned", "own_peer.py", ("list", "free"), own=True, server=False),
    Peer("ours, tags, free and aligned", "own_peer.py", ("tags", "free"), own=True, server=False),
    Peer("ours, list", "own_peer.py", ("list",), own=True, server=False),
    Peer("ours, tags", "own_peer.py", ("tags",), own=True, server=False),
    Peer("dictionary, no model", "dictionary_peer.py", server=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a peer cost. seconds: of processor time a sentence. failure: why it did not run."""

    n_tokens: int = 0
    seconds: float = 0.0
    failure: str | None = None


class Server:
    """llama.cpp's server with a model, for one request at a time."""

    def __init__(self, process: subprocess.Popen[bytes], root: str) -> None:
        self.process = process
        self.root = root

    @classmethod
    @contextmanager
    def running(cls, model: str, log: Path) -> Iterator[Server]:
        port = free_port()
        command = [sys.executable, str(SERVE), model, str(port), "--parallel", "1", "--context", "8192"]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            server = cls(process, f"http://127.0.0.1:{port}")
            deadline_s = time.monotonic() + 600
            while not server.read("/health"):
                assert process.poll() is None, f"the server ended at once: see {log}"
                assert time.monotonic() < deadline_s, f"the server did not start: see {log}"
                time.sleep(0.5)
            yield server
        finally:
            process.kill()
            process.wait()

    def read(self, path: str) -> str:
        """What it answers; empty if it does not."""
        try:
            with urllib.request.urlopen(self.root + path, timeout=60) as reply:
                content: str = reply.read().decode()
                return content
        except (urllib.error.URLError, OSError):
            return ""

    def n_generated(self) -> int:
        found = re.search(r"^llamacpp:tokens_predicted_total (\d+)", self.read("/metrics"), re.MULTILINE)
        return int(found[1]) if found else 0


def job_of(sentences: Sequence[Sentence], examples: Sequence[Sentence], model: Path) -> Job:
    markup = Markup(DDI)
    shown = []
    for example in examples:
        kept, _ = markup.expressible(example)
        entities = [{"start": m.start, "end": m.end, "text": m.text, "type": m.type} for m in kept]
        shown.append({"text": example.text, "entities": entities})
    return Job(
        task=TASK,
        labels={t.name: t.description for t in DDI.types},
        examples=shown,
        sentences=[{"id": s.id, "text": s.text} for s in sentences],
        model=str(model.resolve()),
        address="",
        max_tokens=MAX_TOKENS,
    )


def ask(peer: Peer, job: Job, python: str, answers: Path) -> Outcome:
    """Run a peer's script, with a server if it wants one."""
    log = answers.with_suffix(".log")
    if not peer.server:
        return _run(peer, job, python, answers, log)
    if find_spec("xllamacpp") is None:
        return Outcome(failure="no server: pip install xllamacpp")
    with Server.running(job.model, log.with_suffix(".server.log")) as server:
        job = replace(job, address=f"{server.root}/v1", server=server.process.pid)
        return replace(_run(peer, job, python, answers, log), n_tokens=server.n_generated())


def _run(peer: Peer, job: Job, python: str, answers: Path, log: Path) -> Outcome:
    job_file = answers.with_suffix(".job.json")
    job_file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    command = [sys.executable if peer.own else python, str(HERE / peer.script)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]) if peer.own else ""}
    with log.open("w") as output:
        try:
            done = subprocess.run(
                [*command, str(job_file), str(answers), *peer.options],
                stdout=output,
                stderr=output,
                env=environment,
            )
        except OSError as error:
            return Outcome(failure=str(error))
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return Outcome(failure=lines[-1] if lines else f"exit status {done.returncode}")
    found = read_answers(answers)
    later = found[1:] or found
    return Outcome(sum(a.n_tokens for a in found), sum(a.seconds for a in later) / len(later))


def read_answers(path: Path) -> list[Answer]:
    return [Answer.parse(line) for line in path.read_text(encoding="utf-8").splitlines()]


HEADER = ("peer", "typed", "untyped", "found", "misplaced", "absent", "lost", "tokens", "seconds")


def row(name: str, outcome: Outcome, found: Figures | None, n_sentences: int) -> tuple[str, ...]:
    if found is None:
        return (f"{name}: does not run: {outcome.failure}", *["-"] * (len(HEADER) - 1))
    return (
        name,
        f"{found.typed:.1f}",
        f"{found.untyped:.1f}",
        *map(str, (found.found, found.misplaced, found.absent, found.lost)),
        f"{outcome.n_tokens / n_sentences:.1f}",
        f"{outcome.seconds:.2f}",
    )


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("input", type=Path, help="annotated sentences to measure on")
    parser.add_argument("examples", type=Path, help="annotated sentences to draw examples from")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--peers", default=sys.executable, help="Python of the peers' environment")
    parser.add_argument("--n", type=int, default=30, help="sentences: the first ones that have a text")
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--to", type=Path, default=Path("peers"), help="folder for answers and tables")
    asked = parser.parse_args()
    every = [s for d in read_labelled(asked.input, notify=lambda _: None) for s in d if s.text.strip()]
    sentences = every[: asked.n]
    documents = read_labelled(asked.examples, notify=lambda _: None)
    job = job_of(
        sentences, examples_with_every_type(documents, every, asked.examples, asked.shots), asked.model
    )
    asked.to.mkdir(parents=True, exist_ok=True)
    rows, records = [], {}
    for peer in PEERS:
        if asked.only and peer.name not in asked.only:
            continue
        answers = asked.to / f"{asked.model.stem}, {asked.n} by {asked.shots}, {peer.name}.jsonl"
        cost = answers.with_suffix(".cost.json")
        if not cost.exists():
            cost.write_text(json.dumps(asdict(ask(peer, job, asked.peers, answers))))
        outcome = Outcome(**json.loads(cost.read_text()))
        found = None if outcome.failure else figures(sentences, read_answers(answers))
        rows.append(row(peer.name, outcome, found, len(sentences)))
        records[peer.name] = {**asdict(outcome), **(asdict(found) if found else {})}
        print(*rows[-1], sep=" | ", flush=True)
    n_names = sum(len(s.mentions) for s in sentences)
    table = Table(HEADER, tuple(rows)).markdown()
    print(f"\n{asked.model.name}: {len(sentences)} sentences with {n_names} names, {asked.shots} examples\n")
    print(table)
    (asked.to / f"{asked.model.stem}.md").write_text(table)
    (asked.to / f"{asked.model.stem}.json").write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
