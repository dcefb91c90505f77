"""Worker processes behind the service."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import served, wait_for

from constrained_ner import Annotator, Settings
from constrained_ner.data import Document
from constrained_ner.errors import UserError
from constrained_ner.service.answers import record_of
from constrained_ner.service.engine import Stop, StoppedError, ThisProcess
from constrained_ner.service.worker_engine import WorkerEngine

TEXTS = [
    f"Ketoconazole raises the levels of {name}. Patients who take {name} with aspirin should be watched. "
    f"Do not give {name} to children."
    for name in ("midazolam", "warfarin", "digoxin", "lithium", "theophylline", "phenytoin")
]


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerEngine]:
    engine = WorkerEngine(2, Settings(), print)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    with Annotator.load() as annotator:
        engine = ThisProcess(annotator)
        documents = [Document.of_text(str(n), text) for n, text in enumerate(TEXTS)]
        return [json.dumps(record_of(engine.annotate(d, {}, Stop()))) for d in documents]


def test_a_worker_that_dies_costs_its_requests_a_retry_not_an_answer(
    workers: WorkerEngine, expected: list[str]
) -> None:
    with served(workers) as service, ThreadPoolExecutor(4) as clients:

        def ask(number: int) -> str:
            n = number % len(TEXTS)
            body = {"texts": [{"id": str(n), "text": TEXTS[n]}]}
            response = httpx.post(f"{service.url}/v1/annotate", json=body, timeout=600)
            return json.dumps(response.json()["results"][0])

        answers = [clients.submit(ask, number) for number in range(24)]
        wait_for(lambda: any(answer.done() for answer in answers), 300)
        victim = multiprocessing.active_children()[0].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)  # in the middle: others are waiting
        assert [answer.result() for answer in answers] == expected * 4
        after = {child.pid for child in multiprocessing.active_children()}
        assert victim not in after


def test_options_reach_the_workers(workers: WorkerEngine) -> None:
    document = Document.of_text("0", TEXTS[0])
    plain = workers.annotate(document, {}, Stop())
    nothing = workers.annotate(document, {"min_confidence": 1.0}, Stop())
    assert sum(len(s.mentions) for s in plain) > sum(len(s.mentions) for s in nothing)
    assert record_of(workers.annotate(document, {}, Stop())) == record_of(plain)


def test_work_that_nobody_wants_is_not_begun(workers: WorkerEngine, expected: list[str]) -> None:
    stop = Stop()
    stop.requested = True
    with pytest.raises(StoppedError):
        workers.annotate(Document.of_text("0", TEXTS[0]), {}, stop)
    again = workers.annotate(Document.of_text("0", TEXTS[0]), {}, Stop())
    assert json.dumps(record_of(again)) == expected[0]


def test_a_model_that_does_not_load_is_named() -> None:
    with pytest.raises(UserError, match="no-such"):
        WorkerEngine(2, Settings(model="no-such.gguf"), print)
