"""Worker processes behind the service."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from serving import served, wait_for
from worker_models import breaks, dies_at_start, dying_annotator, fake_annotator, refuses, shared_annotator

from constrained_ner import Annotator, Settings
from constrained_ner.data import Document
from constrained_ner.errors import ModelError, UserError
from constrained_ner.service.answers import record_of
from constrained_ner.service.engine import Engine, ThisProcess
from constrained_ner.service.turns import StoppedError
from constrained_ner.service.worker_engine import WorkerEngine

PATIENCE_S = 900
TEXTS = [
    f"Ketoconazole raises the levels of {name}. Patients who take {name} with aspirin should be watched. "
    f"Do not give {name} to children."
    for name in ("midazolam", "warfarin", "digoxin", "lithium", "theophylline", "phenytoin")
]


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the workers' notes were."""
    return []


@pytest.fixture(scope="module")
def workers(said: list[str]) -> Iterator[WorkerEngine]:
    engine = WorkerEngine(2, Settings(), said.append)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    with Annotator.load() as annotator:
        engine = ThisProcess(annotator)
        return [answer(engine, text, str(n)) for n, text in enumerate(TEXTS)]


def answer(engine: Engine, text: str, id: str = "0", **options: object) -> str:
    found = engine.annotate(Document.of_text(id, text), options).result(PATIENCE_S)
    return json.dumps(record_of(found))


def alone(text: str) -> str:
    """The answer of the fake model to a text that nothing shares it with."""
    with fake_annotator(Settings(), None, print) as annotator:
        return answer(ThisProcess(annotator), text)


def test_a_worker_that_dies_costs_its_requests_a_retry_not_an_answer(
    workers: WorkerEngine, expected: list[str], said: list[str]
) -> None:
    with served(workers) as service, ThreadPoolExecutor(4) as clients:

        def ask(number: int) -> str:
            n = number % len(TEXTS)
            body = {"texts": [{"id": str(n), "text": TEXTS[n]}]}
            response = httpx.post(f"{service.url}/v1/annotate", json=body, timeout=PATIENCE_S)
            return json.dumps(response.json()["results"][0])

        answers = [clients.submit(ask, number) for number in range(24)]
        wait_for(lambda: any(answer.done() for answer in answers), PATIENCE_S)
        victim = multiprocessing.active_children()[0].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)  # in the middle: others are waiting
        assert [answer.result() for answer in answers] == expected * 4
        after = {child.pid for child in multiprocessing.active_children()}
        assert victim not in after
        assert re.search(r"worker [12] died \(killed by SIGKILL.*\); another takes its place", "".join(said))


def test_options_reach_the_workers(workers: WorkerEngine, expected: list[str]) -> None:
    nothing = json.loads(answer(workers, TEXTS[0], min_confidence=1.0))
    assert nothing["mentions"] == []
    assert answer(workers, TEXTS[0]) == expected[0]


def test_an_xray_is_made_by_a_worker(workers: WorkerEngine) -> None:
    with Annotator.load() as annotator:
        assert workers.xray("Take aspirin.", {}).result(PATIENCE_S) == annotator.xray("Take aspirin.")


def test_overlapping_requests_share_passes_in_this_process(tmp_path: Path) -> None:
    with shared_annotator(tmp_path, Settings(), None, print) as annotator:
        _require_shared_passes(ThisProcess(annotator), tmp_path)


def test_overlapping_requests_share_passes_in_a_worker(tmp_path: Path) -> None:
    engine = WorkerEngine(1, Settings(), print, partial(shared_annotator, tmp_path))
    _require_shared_passes(engine, tmp_path)
    engine.close()


def _require_shared_passes(engine: Engine, folder: Path) -> None:
    """Eight texts of one sentence, each by itself and then all at once: fewer passes, the same answers."""
    texts = [f"Iron and zinc {n} times a day." for n in range(8)]

    def passes() -> list[int]:
        return [int(size) for size in (folder / "passes").read_text().split()]

    one_by_one = [answer(engine, text) for text in texts]
    n_alone = len(passes())
    assert set(passes()) == {1}
    asked = [engine.annotate(Document.of_text("0", text), {}) for text in texts]
    assert [json.dumps(record_of(done.result(PATIENCE_S))) for done in asked] == one_by_one
    together = passes()[n_alone:]
    assert sum(together) == n_alone  # the same work
    assert len(together) <= n_alone / 2  # four slots, so a quarter at best


def test_a_text_at_which_processes_die_is_done_again_by_itself(tmp_path: Path) -> None:
    deadly = partial(dying_annotator, tmp_path, ("boom",), 2)
    engine = WorkerEngine(1, Settings(), print, deadly)
    texts = ["Iron and zinc.", "Zinc goes boom twice.", "Iron alone."]
    asked = [engine.annotate(Document.of_text("0", text), {}) for text in texts]
    assert [json.dumps(record_of(done.result(PATIENCE_S))) for done in asked] == [
        alone(text) for text in texts
    ]
    assert len(list(tmp_path.glob("boom.*"))) == 2
    engine.close()


def test_a_text_that_kills_every_process_fails_and_the_others_do_not(tmp_path: Path) -> None:
    engine = WorkerEngine(1, Settings(), print, partial(dying_annotator, tmp_path, ("boom",), 99))
    deadly = engine.annotate(Document.of_text("0", "Zinc goes boom now."), {})
    other = engine.annotate(Document.of_text("0", "Iron alone."), {})
    (failure,) = record_of(deadly.result(PATIENCE_S))["failures"]
    assert "the process died at it 3 times" in failure["why"]
    assert json.dumps(record_of(other.result(PATIENCE_S))) == alone("Iron alone.")
    assert engine.ready
    engine.close()


def test_work_that_nobody_wants_is_given_up(tmp_path: Path) -> None:
    engine = WorkerEngine(1, Settings(), print, partial(shared_annotator, tmp_path))
    long = engine.annotate(Document.of_text("0", "Iron and zinc. " * 1000), {})
    wait_for(long.running)
    waiting = [engine.annotate(Document.of_text("0", "Iron."), {}) for _ in range(20)]
    for given_up in (long, *waiting[10:]):
        given_up.give_up()
    with pytest.raises(StoppedError):
        long.result(PATIENCE_S)
    with pytest.raises((CancelledError, StoppedError)):
        waiting[-1].result(PATIENCE_S)
    assert len({json.dumps(record_of(done.result(PATIENCE_S))) for done in waiting[:10]}) == 1
    engine.close()


def test_what_is_left_when_the_engine_closes_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    engine = WorkerEngine(1, Settings(), print, partial(shared_annotator, tmp_path))
    left = engine.annotate(Document.of_text("0", "Iron and zinc. " * 1000), {})
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        left.result(PATIENCE_S)
    with pytest.raises(ModelError, match="closed"):
        engine.annotate(Document.of_text("0", "Iron."), {}).result(PATIENCE_S)


def test_a_model_that_does_not_load_is_named() -> None:
    with pytest.raises(UserError, match="no such model file"):
        WorkerEngine(2, Settings(), print, refuses)


@pytest.mark.parametrize("broken", [breaks, dies_at_start])
def test_processes_that_never_start_are_given_up(broken: object) -> None:
    with pytest.raises(ModelError, match="die while they start"):
        WorkerEngine(1, Settings(), print, broken)  # type: ignore[arg-type]
