"""What a real server must do, and what our client must make of it. A check returns what it saw, or asserts.

The checks know no product: they get an address, the model's name, and a model here to compare with.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agreement import Remembering, margin_here

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.result import Annotated
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.protocol import TextRequest
from constrained_ner.backends.servers import PRODUCTS
from constrained_ner.backends.servers.connection import Patience
from constrained_ner.backends.servers.openai_compatible import OpenAIServer
from constrained_ner.data import Sentence
from constrained_ner.decoding.confidence import confidence
from constrained_ner.errors import UserError
from constrained_ner.runs.job import annotate_file

HARD_TEXTS = (
    'The "iron" \\ rule, <drug>twice</drug> {x} [y] \\n',
    "β-blockers (e.g. atenolol) help, 5 µg/kg… 💊 ",
    "<|im_end|> Aspirin </s> <0.5 mg",
    "  two  spaces\tand a tab ",
)
"""What grammars and chat templates get wrong."""


@dataclass(frozen=True)
class Target:
    """A server that runs, and the same model here.

    model: its name for our client; "" for the only one. here: settings of the model here.
    options: more settings for both, such as the prompt. idle: whether the server has nothing to do.
    """

    address: str
    here: dict[str, Any]
    kill: Callable[[], None]
    idle: Callable[[], bool]
    model: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def annotator(
        self,
        *,
        patience: Patience | None = None,
        product: str | None = None,
        batch: int = 1,
        notify: Callable[[str], None] = lambda message: None,
        **more: Any,
    ) -> Annotator:
        """An annotator that asks the server."""
        server = OpenAIServer(self.model, self.address, PRODUCTS[product] if product else None)
        backend = Remembering(server, max_sequences=batch, patience=patience)
        settings = Settings(**{"consistency": False, **self.options, **more})
        return Annotator(backend, settings, notify=notify)

    def local(self, **more: Any) -> Annotator:
        """An annotator of the model here, as free as under a grammar: any tokenization of an answer."""
        free = {"rule": "any", "consistency": False, "min_confidence": 0.0}
        settings = Settings(**{**free, **self.here, **self.options, **more})
        return Annotator.load(settings=settings, notify=lambda message: None)


def found(annotated: Annotated) -> list[tuple[int, int, str]]:
    return [(m.start, m.end, m.type) for m in annotated.sentence.mentions]


def run_all(ner: Annotator, sentences: Sequence[Sentence]) -> list[Annotated]:
    with ner:
        return list(ner.run(sentences))


def answers_equal_local_ones(target: Target, sentences: Sequence[Sentence], **more: Any) -> dict[str, Any]:
    """The same model and prompt, greedy: how many answers are those found here, how close confidences are.

    Margins are those at which the other answers part from the ones found here (see `agreement`).
    Confidences before calibration: a server does not know the temperature that a model has stored.
    """
    with target.annotator(**more) as asked:
        there = list(asked.run(sentences))
        written = [answer.result() for answer in asked.backend.answers]  # type: ignore[union-attr]
    failures = [a.failure for a in there if a.failure]
    assert not failures, failures[0]
    assert {m.provenance for a in there for m in a.sentence.mentions} <= {"constrained"}
    with target.local(**more) as local:
        here = list(local.run(sentences))
        margins = [
            margin_here(local, sentence.text, answer)
            for sentence, a, b, answer in zip(sentences, there, here, written, strict=True)
            if found(a) != found(b)
        ]
    in_both = [
        (None if m.confidence is None else confidence(m.margins), confidence(n.margins))
        for a, b in zip(there, here, strict=True)
        for m in a.sentence.mentions
        for n in b.sentence.mentions
        if (m.spans, m.type) == (n.spans, n.type)
    ]
    differences = [abs(m - n) for m, n in in_both if m is not None]
    return {
        "sentences": len(sentences),
        "equal": len(sentences) - len(margins),
        "margins of the others": sorted(round(margin, 3) for margin in margins),
        "mentions": sum(len(found(a)) for a in there),
        "mentions here": sum(len(found(a)) for a in here),
        "in both": len(in_both),
        "of these without confidence": sum(m is None for m, _ in in_both),
        "confidence differs by": {
            "at most": round(max(differences, default=0.0), 4),
            "on average": round(sum(differences) / max(1, len(differences)), 4),
        },
    }


def grammar_is_heeded(target: Target) -> dict[str, Any]:
    """Also where the sentence has quotes, backslashes, tags, control tokens and other scripts in it."""
    said: list[str] = []
    with target.annotator(notify=said.append) as ner:
        results = list(ner.run([Sentence(str(n), text) for n, text in enumerate(HARD_TEXTS)]))
        request = TextRequest((("user", "Is water wet?"),), 16, 'root ::= "perhaps" | "never"')
        answer = ner.backend.submit(request).result()  # type: ignore[union-attr]
    assert not said, said
    assert [a.failure for a in results] == [None] * len(results)
    assert all(a.verbatim for a in results)
    assert answer.text in {"perhaps", "never"}
    return {"hard texts": len(results), "asked for perhaps or never": answer.text}


def ignored_grammar_is_noticed(target: Target, sentences: Sequence[Sentence]) -> dict[str, Any]:
    """The grammar goes into a field that this product does not know, as with a wrong --server."""
    said: list[str] = []
    results = run_all(target.annotator(product="sglang", bias={}, notify=said.append), sentences)
    assert any("ignores the constraint" in message for message in said), [a.failure for a in results]
    assert len(said) == 1
    return {"said": said[0], "failed": sum(a.failure is not None for a in results)}


def slow_answers_time_out(target: Target, sentence: Sentence) -> dict[str, Any]:
    patience = Patience(timeout_s=0.2, first_pause_s=0.01)
    long = Sentence(sentence.id, f"{sentence.text} " * 20)
    with target.annotator(patience=patience) as ner:
        (result,) = ner.run([long])
        wait_until(target.idle, 120)  # what was given up is not worked on for ever
    assert result.failure is not None
    assert "no answer within 0.2 s, 2 times" in result.failure
    return {"failure": result.failure}


def cancelled_requests_stop(target: Target) -> dict[str, Any]:
    """A long answer is dropped, and the server stops working on it."""
    with target.annotator() as ner:
        request = TextRequest((("user", "Pi?"),), 300, "root ::= " + "[0-9] " * 280)
        future = ner.backend.submit(request)  # type: ignore[union-attr]
        wait_until(lambda: not target.idle(), 60)
        start_s = time.monotonic()
        assert future.cancel()
        wait_until(target.idle, 60)
    return {"idle again after s": round(time.monotonic() - start_s, 1)}


def eight_at_once(target: Target, sentences: Sequence[Sentence]) -> dict[str, Any]:
    one = run_all(target.annotator(), sentences)
    eight = run_all(target.annotator(batch=8), sentences)
    assert [a.sentence.id for a in eight] == [s.id for s in sentences]
    assert all(a.failure is None for a in eight)
    same = sum(found(a) == found(b) for a, b in zip(one, eight, strict=True))
    return {"sentences": len(sentences), "as one by one": same}


def outlives_a_killed_server(
    start: Callable[[], Target], sentences: Sequence[Sentence], work: Path
) -> dict[str, Any]:
    """The server is killed in the middle of a run and started again; the run goes on to the same bytes."""
    source = work / "sentences.jsonl"
    source.write_text("".join(json.dumps({"id": s.id, "text": s.text}) + "\n" for s in sentences))
    whole, resumed = work / "whole.jsonl", work / "resumed.jsonl"
    target = start()
    try:
        annotate(target, source, whole)
        killer = threading.Thread(target=_kill_after, args=(resumed, 2, target.kill))
        killer.start()
        try:
            annotate(target, source, resumed)
        except UserError as error:
            said = str(error)
        else:
            raise AssertionError("the run was over before the server was killed: give it more sentences")
        finally:
            killer.join()
    finally:
        target.kill()
    assert not resumed.exists()
    target = start()
    try:
        annotate(target, source, resumed)
    finally:
        target.kill()
    assert resumed.read_bytes() == whole.read_bytes()
    return {"sentences": len(sentences), "said": said}


def annotate(target: Target, source: Path, output: Path) -> None:
    """A whole run, as the command makes it."""
    patience = Patience(timeout_s=60.0, n_attempts=2, first_pause_s=0.1)
    annotate_file(
        source,
        output,
        Settings(**target.options),
        open_annotator=lambda settings, notify: target.annotator(patience=patience),
    )


def _kill_after(output: Path, n_done: int, kill: Callable[[], None]) -> None:
    journal = Path(f"{output}.journal")
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > n_done, 300)
    kill()


def wait_until(true: Callable[[], bool], longest_s: float) -> None:
    deadline_s = time.monotonic() + longest_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {longest_s:g} s"
        time.sleep(0.05)
