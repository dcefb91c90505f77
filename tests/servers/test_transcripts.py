"""What real servers answered, replayed: `real_servers.py` records it, so tests see what products send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from servers import Reply, StandIn

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.settings import Settings
from constrained_ner.data import Sentence
from constrained_ner.formats.ddi import read_ddi

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TRANSCRIPTS = sorted((HERE / "transcripts").glob("*.jsonl"))


def test_there_are_transcripts() -> None:
    assert TRANSCRIPTS


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_what_a_real_server_answered_is_understood(path: Path) -> None:
    """The questions are those of the recording, and the answers are read as they were then."""
    about, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    answers = {(line["path"], key_of(line["request"])): (line["status"], line["answer"]) for line in lines}
    missed: list[dict[str, Any]] = []

    def replay(path: str, body: dict[str, Any]) -> Reply:
        answer = answers.get((path, key_of(body)))
        if answer is None:
            missed.append(body)
            return 404, {"error": {"message": "not in the transcript"}}
        return answer

    n_shots = about["settings"].pop("shots")
    shots = [s for document in read_ddi(ROOT / "examples" / "shots.xml") for s in document][:n_shots]
    said: list[str] = []
    with StandIn(replay) as stand_in:
        settings = Settings(**about["settings"], examples=shots, consistency=False, batch=1)
        ner = Annotator.load("openai:", settings, base_url=f"{stand_in.url}/v1", notify=said.append)
        with ner:
            results = list(ner.run([Sentence(str(n), text) for n, text in enumerate(about["sentences"])]))
    assert not missed
    assert not said
    assert about["sentences"]
    assert all(result.failure is None and result.verbatim for result in results)
    mentions = [m for result in results for m in result.sentence.mentions]
    assert {m.provenance for m in mentions} == {"constrained"}
    assert [[m.start, m.end, m.type] for m in mentions] == about["mentions"]
    assert all(m.text == r.sentence.text[m.start : m.end] for r in results for m in r.sentence.mentions)
    assert any(m.confidence is not None for m in mentions)


def key_of(body: dict[str, Any]) -> str:
    """The request without the model's name, which is where it lay on the machine that recorded it."""
    return json.dumps({name: value for name, value in body.items() if name != "model"}, sort_keys=True)
