"""Work in turns."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from constrained_ner.service.turns import Answer, StoppedError, Turns

PATIENCE_S = 60


def counting(name: str, n: int, seen: list[str]) -> Generator[None, None, str]:
    for _ in range(n):
        seen.append(name)
        yield
    return name


def test_a_long_text_does_not_hold_up_the_short_ones_behind_it() -> None:
    turns, seen, begin = Turns(1), list[str](), threading.Event()
    turns.call(begin.wait)  # so that all are in the queue before the first begins
    answers = [turns.take(lambda _, n=n: counting(str(n), n, seen)) for n in (9, 1, 2)]
    begin.set()
    assert [answer.result(PATIENCE_S) for answer in answers] == ["9", "1", "2"]
    assert seen[:5] == ["9", "1", "2", "9", "2"]
    turns.close()


def test_an_error_is_that_of_the_answer() -> None:
    def breaking(_: Answer[str]) -> Generator[None, None, str]:
        yield
        raise ValueError("broken")

    turns = Turns(1)
    with pytest.raises(ValueError, match="broken"):
        turns.take(breaking).result(PATIENCE_S)
    assert turns.take(lambda _: counting("next", 1, [])).result(PATIENCE_S) == "next"
    turns.close()


def test_work_that_nobody_wants_never_begins_or_ends_soon() -> None:
    def looking(answer: Answer[str]) -> Generator[None, None, str]:
        while True:
            answer.check()
            yield

    turns, seen, begin = Turns(1), list[str](), threading.Event()
    running = turns.take(looking)
    while not running.running():
        begin.wait(0.01)
    turns.call(begin.wait)
    waiting = turns.take(lambda _: counting("waiting", 1, seen))
    for answer in (running, waiting):
        answer.give_up()
    begin.set()
    with pytest.raises(StoppedError):
        running.result(PATIENCE_S)
    turns.call(lambda: None).result(PATIENCE_S)
    assert waiting.cancelled()
    assert seen == []
    turns.close()


def test_what_is_left_in_a_closed_queue_raises() -> None:
    turns, begun, go_on = Turns(1), threading.Event(), threading.Event()

    def held(_: Answer[str]) -> Generator[None, None, str]:
        begun.set()
        go_on.wait(PATIENCE_S)
        yield
        return "never"

    answer = turns.take(held)
    begun.wait(PATIENCE_S)
    closing = threading.Thread(target=turns.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()  # the step that is running is finished
    go_on.set()
    with pytest.raises(RuntimeError, match="shutdown"):
        answer.result(PATIENCE_S)
    closing.join(PATIENCE_S)
