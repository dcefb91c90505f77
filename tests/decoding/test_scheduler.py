"""The scheduler: many callers and threads over one back end, each as if it were alone."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import byte_level_tokenizer, write_gguf
from vocabularies import byte_vocabulary, tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.result import Annotated, Effort
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores, Step
from constrained_ner.data import Sentence
from constrained_ner.decoding.answer import Extend
from constrained_ner.decoding.scheduler import RoutineCancelledError, Scheduler, Ticket, scheduler_of
from constrained_ner.errors import ModelError
from constrained_ner.prompting.wording import PromptFile

TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"
VOCABULARY = tag_token_vocabulary()
TEXTS = [
    "Effect of aspirin on beta-blockers.",
    "",
    "iron",
    "a <drug> b</drug> c",
    "More aspirin, iron and zinc.",
    "Naïve (β-lactamase) – 50 µg/mL 😀!",
    "a lone \ud800 surrogate",
    "aspirin and iron again, " * 6,
]
OTHER_PROMPT = PromptFile(sysprompt=(), usrprompt=("Mark it: {sentence}",))
score = cache(
    seeded_score(len(VOCABULARY), scale=3.0, n_context=400)
)  # every token counts, also the prefix's


def fake(max_sequences: int = 3, **options: Any) -> FakeBackend:
    options.setdefault("context_length", 400)
    return FakeBackend(VOCABULARY, score, max_sequences=max_sequences, chat_template=TEMPLATE, **options)


def sentences(numbers: Sequence[int]) -> list[Sentence]:
    return [Sentence(str(n), TEXTS[number]) for n, number in enumerate(numbers)]


def figures(results: Sequence[Annotated]) -> list[tuple[Sentence, str | None, Effort]]:
    """All that an answer is: mentions with their confidences and margins, and what it took."""
    return [(result.sentence, result.failure, result.effort) for result in results]


def by_itself(numbers: tuple[int, ...], **options: Any) -> list[tuple[Sentence, str | None, Effort]]:
    with Annotator(fake(), **options) as ner:
        return figures(list(ner.run(sentences(numbers))))


several = st.lists(st.lists(st.integers(0, len(TEXTS) - 1), max_size=5).map(tuple), min_size=2, max_size=4)


# ---- many callers


@settings(max_examples=40)
@given(several, st.data())
def test_overlapping_iterators_get_the_answers_of_one(
    runs: list[tuple[int, ...]], data: st.DataObject
) -> None:
    with Annotator(fake()) as ner:
        iterators = [ner.run(sentences(numbers)) for numbers in runs]
        found: list[list[Annotated]] = [[] for _ in runs]
        open_ = list(range(len(runs)))
        while open_:
            number = data.draw(st.sampled_from(open_))
            try:
                found[number].append(next(iterators[number]))
            except StopIteration:
                open_.remove(number)
    assert [figures(results) for results in found] == [by_itself(numbers) for numbers in runs]


@settings(max_examples=40)
@given(several, st.sampled_from([{}, {"decoder": "stepwise"}, {"constrained": False}]))
def test_threads_get_the_answers_of_one(runs: list[tuple[int, ...]], options: dict[str, Any]) -> None:
    together = threading.Barrier(len(runs))
    with Annotator(fake(), **options) as ner, ThreadPoolExecutor(len(runs)) as pool:

        def annotate(numbers: tuple[int, ...]) -> list[Annotated]:
            together.wait()
            return list(ner.run(sentences(numbers)))

        found = list(pool.map(annotate, runs))
    assert [figures(results) for results in found] == [by_itself(numbers, **options) for numbers in runs]


def test_annotators_with_different_prompts_share_a_back_end() -> None:
    numbers = (0, 2, 4, 5, 0)
    prompts = (PromptFile.built_in(), OTHER_PROMPT)
    backend = fake()
    annotators = [Annotator(backend, prompt=prompt) for prompt in prompts]
    expected = [by_itself(numbers, prompt=prompt) for prompt in prompts]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda ner: figures(list(ner.run(sentences(numbers)))), annotators))
    assert found == expected
    iterators = [ner.run(sentences(numbers)) for ner in annotators]
    turns = [[next(iterator) for iterator in iterators] for _ in numbers]
    assert [figures([turn[n] for turn in turns]) for n in (0, 1)] == expected


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", byte_level_tokenizer())


def test_threads_and_iterators_over_llama_cpp_get_the_answers_of_one(model: Path) -> None:
    texts = [text for text in TEXTS if "\ud800" not in text]
    options: dict[str, Any] = {"threads": 1, "context": 1024, "batch": 2, "min_confidence": 0.0}

    def spans(sentences_found: Sequence[Sentence]) -> list[list[tuple[int, int, str]]]:
        return [[(m.start, m.end, m.type) for m in s.mentions] for s in sentences_found]

    def confidences(sentences_found: Sequence[Sentence]) -> list[float]:
        return [m.confidence or 0.0 for s in sentences_found for m in s.mentions]

    with Annotator.load(model, **options) as ner:
        expected = list(ner.annotate_many(texts))
        assert sum(len(s.mentions) for s in expected) > 5
        first, second = ner.annotate_many(texts), ner.annotate_many(texts)
        pairs = [(next(first), next(second)) for _ in texts]
        with ThreadPoolExecutor(3) as pool:
            in_threads = list(pool.map(lambda _: list(ner.annotate_many(texts)), range(3)))
    for found in ([a for a, _ in pairs], [b for _, b in pairs], *in_threads):
        assert spans(found) == spans(expected)
        # A batch of another shape may round differently in its last digits.
        assert confidences(found) == pytest.approx(confidences(expected), abs=1e-4)


# ---- giving up


def counting(n_steps: int, token_id: int = 1, ended: list[int] | None = None) -> Iterator[Extend]:
    try:
        for step in range(n_steps):
            yield Extend(step, (token_id,), (None,))
        return token_id  # type: ignore[return-value]
    finally:
        if ended is not None:
            ended.append(token_id)


def submit(scheduler: Scheduler, n_steps: int, token_id: int = 1, **options: Any) -> Ticket[int]:
    return scheduler.submit(counting(n_steps, token_id, **options))  # type: ignore[arg-type]


def bytes_backend(**options: Any) -> FakeBackend:
    return FakeBackend(byte_vocabulary(), **{"max_sequences": 2, **options})


def test_a_cancelled_ticket_frees_its_slot_and_its_routine_is_closed() -> None:
    backend, ended = bytes_backend(), []
    scheduler = Scheduler(backend)
    running = submit(scheduler, 10**6, 1, ended=ended)
    other = submit(scheduler, 3, 2)
    waiting = submit(scheduler, 10**6, 3)
    assert other.result() == 2
    running.cancel()
    waiting.cancel()
    running.cancel()
    last = [submit(scheduler, 2, token_id) for token_id in (4, 5)]
    assert [ticket.result() for ticket in last] == [4, 5]
    assert ended == [1]
    assert backend.n_passes == 5
    assert {step.sequence for step in backend.passes[-1]} == {0, 1}, "both slots are in use again"
    for ticket in (running, waiting):
        with pytest.raises(RoutineCancelledError):
            ticket.result()
    other.cancel()  # too late: it has its result
    assert other.result() == 2


def test_a_ticket_that_is_cancelled_before_it_is_asked_for_takes_no_pass() -> None:
    backend = bytes_backend()
    scheduler = Scheduler(backend)
    ticket = submit(scheduler, 5)
    ticket.cancel()
    with pytest.raises(RoutineCancelledError):
        ticket.result()
    assert backend.n_passes == 0


@pytest.mark.parametrize("end", ["close", "del", "exception"])
def test_abandoned_iterators_free_their_slots(end: str) -> None:
    backend = fake(2)
    with Annotator(backend) as ner:
        for _ in range(5):
            iterator = ner.run(sentences((0, 4, 0, 4, 0, 4)))
            next(iterator)
            if end == "close":
                iterator.close()  # type: ignore[attr-defined]
            elif end == "exception":
                with pytest.raises(ZeroDivisionError):
                    iterator.throw(ZeroDivisionError)  # type: ignore[attr-defined]
            del iterator
            gc.collect()
        scheduler = scheduler_of(backend)
        n_before = backend.n_passes
        (result,) = ner.run(sentences((2,)))
        assert not scheduler._running
        assert not scheduler._waiting
        assert backend.n_passes - n_before == result.effort.n_passes, "nobody else took part"
        assert all(len(steps) == 1 for steps in backend.passes[n_before:])


def test_an_iterator_that_was_never_begun_holds_nothing() -> None:
    backend = fake()
    with Annotator(backend) as ner:
        ner.run(sentences((0,)))
        assert not scheduler_of(backend)._waiting


# ---- trouble


class Failing(FakeBackend):
    """A back end whose forward pass fails when it is told to."""

    failure: BaseException | None = None
    n_left = 0

    def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
        self.n_left -= 1
        if self.failure is not None and self.n_left < 0:
            failure, self.failure = self.failure, None
            raise failure
        return super().forward(steps)


@pytest.mark.parametrize("failure", [RuntimeError("out of luck"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("n_passes", [0, 1, 5])
def test_a_failed_pass_ends_what_was_running_and_nothing_else(failure: BaseException, n_passes: int) -> None:
    numbers = (0, 4, 7, 2)
    backend = Failing(VOCABULARY, score, max_sequences=2, chat_template=TEMPLATE, context_length=400)
    with Annotator(backend) as ner:
        backend.failure, backend.n_left = failure, n_passes
        with pytest.raises(type(failure)):
            list(ner.run(sentences(numbers)))
        assert figures(list(ner.run(sentences(numbers)))) == by_itself(numbers)
        scheduler = scheduler_of(backend)
        assert not scheduler._running
        assert not scheduler._waiting


def test_tickets_that_were_running_raise_the_error_and_those_that_waited_do_not() -> None:
    backend = Failing(byte_vocabulary(), max_sequences=2)
    scheduler = Scheduler(backend)
    tickets = [submit(scheduler, 4, token_id) for token_id in (1, 2, 3)]
    backend.failure, backend.n_left = KeyboardInterrupt(), 2
    with pytest.raises(KeyboardInterrupt):
        tickets[0].result()
    for ticket in tickets[:2]:
        with pytest.raises(ModelError, match="the forward pass was interrupted"):
            ticket.result()
    assert tickets[2].result() == 3


def test_a_routine_that_fails_fails_alone() -> None:
    def failing() -> Iterator[Extend]:
        yield Extend(0, (1,), (None,))
        raise ZeroDivisionError

    scheduler = Scheduler(bytes_backend())
    wrong = scheduler.submit(failing())  # type: ignore[arg-type,var-annotated]
    right = submit(scheduler, 4, 7)
    assert right.result() == 7
    with pytest.raises(ZeroDivisionError):
        wrong.result()


def test_a_prefix_that_cannot_be_computed_fails_its_own_routine_and_no_other() -> None:
    class NoPrefix(FakeBackend):
        n_left = 1

        def prefill(self, prefix_ids: Sequence[int]) -> None:
            self.n_left -= 1
            if self.n_left >= 0:
                raise RuntimeError("no memory")
            super().prefill(prefix_ids)

    scheduler = Scheduler(NoPrefix(byte_vocabulary()))
    ticket = scheduler.submit(counting(2, 5), (7, 8))  # type: ignore[arg-type,var-annotated]
    other = scheduler.submit(counting(2, 6), (7, 8))  # type: ignore[arg-type,var-annotated]
    assert other.result() == 6, "the error is for whom it concerns, whoever runs the pass"
    with pytest.raises(RuntimeError, match="no memory"):
        ticket.result()


def test_a_closed_scheduler_ends_what_is_not_done_and_takes_nothing_more() -> None:
    backend = bytes_backend()
    scheduler = Scheduler(backend)
    done, open_one = (scheduler.submit(counting(n, n)) for n in (1, 3))  # type: ignore[arg-type,var-annotated]
    assert done.result() == 1
    scheduler.close()
    scheduler.close()
    with pytest.raises(ModelError, match="the model is closed"):
        open_one.result()
    with pytest.raises(ModelError, match="the model is closed"):
        scheduler.submit(counting(1, 1))  # type: ignore[arg-type]
    assert done.result() == 1


def test_handing_in_does_not_wait_for_the_pass_of_another_thread() -> None:
    passing, handed_in = threading.Event(), threading.Event()

    class Waiting(FakeBackend):
        def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
            passing.set()
            assert handed_in.wait(timeout=30), "the pass ended first"
            return super().forward(steps)

    scheduler = Scheduler(Waiting(byte_vocabulary(), max_sequences=2))
    first = submit(scheduler, 3, 5)
    thread = threading.Thread(target=first.result)
    thread.start()
    passing.wait()
    second = submit(scheduler, 2, 6)
    handed_in.set()
    assert second.result() == 6
    thread.join()
    assert first.result() == 5


def test_an_annotator_may_be_closed_while_another_thread_uses_it() -> None:
    started = threading.Event()

    class Slow(FakeBackend):
        closed = False

        def forward(self, steps: Sequence[Step]) -> list[list[Scores | None]]:
            started.set()
            time.sleep(0.05)
            assert not self.closed, "closed in the middle of a pass"
            return super().forward(steps)

        def close(self) -> None:
            self.closed = True

    scheduler = Scheduler(Slow(byte_vocabulary()))
    ticket = scheduler.submit(counting(5, 5))  # type: ignore[arg-type,var-annotated]
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            ticket.result()
        except ModelError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    scheduler.close()
    thread.join()
    assert [str(error) for error in failed] == ["the model is closed"]


def test_prefixes_take_turns_in_the_order_of_their_coming() -> None:
    backend = bytes_backend()
    scheduler = Scheduler(backend)
    tickets = [
        scheduler.submit(counting(3, n), (9,) if n % 2 else (8,))  # type: ignore[arg-type,var-annotated]
        for n in range(4)
    ]
    assert [ticket.result() for ticket in tickets] == [0, 1, 2, 3]
    assert backend.n_prefilled == 4
    assert all(len(steps) == 1 for steps in backend.passes), "routines of two prefixes never share a pass"


def test_a_back_end_has_one_scheduler_and_loses_it_with_its_last_user() -> None:
    backend = fake()
    first, second = Annotator(backend), Annotator(backend, prompt=OTHER_PROMPT)
    assert scheduler_of(backend) is scheduler_of(backend)
    other = fake()
    assert scheduler_of(other) is not scheduler_of(backend)
    assert figures(list(second.run(sentences((0,))))) == by_itself((0,), prompt=OTHER_PROMPT)
    assert figures(list(first.run(sentences((0,))))) == by_itself((0,))
    del first, second
    gc.collect()
    assert figures(list(Annotator(backend).run(sentences((0,))))) == by_itself((0,))


# ---- forks


def in_a_fork(action: Callable[[], object]) -> str:
    """What an action raises in a forked process, or "nothing"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            action()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # that the process has threads is the point
@pytest.mark.parametrize("locked", [False, True], ids=["idle", "in the middle of a pass"])
def test_a_forked_process_is_refused_in_one_line(locked: bool) -> None:
    backend = fake()
    ner = Annotator(backend)
    iterator = ner.run(sentences((0, 4, 0)))
    next(iterator)
    scheduler = scheduler_of(backend)
    ticket = scheduler.submit(counting(3))  # type: ignore[arg-type,var-annotated]
    if locked:  # as another thread holds it at the moment of the fork
        scheduler._lock.acquire()
    actions: list[Callable[[], object]] = [
        lambda: ner.annotate("aspirin"),
        lambda: list(iterator),
        lambda: scheduler.submit(counting(3)),  # type: ignore[arg-type]
        lambda: ticket.result(),
        lambda: Annotator(backend, prompt=OTHER_PROMPT),
    ]
    said = [in_a_fork(action) for action in actions]
    assert in_a_fork(lambda: Annotator(fake()).annotate("aspirin")) == "nothing", "its own it may use"
    if locked:
        scheduler._lock.release()
    for line in said:
        assert line.startswith("ModelError: the ")
        assert f"in process {os.getpid()} and cannot be used in a fork of it" in line
        assert line.endswith("load one in each worker process")
        assert "\n" not in line
    assert ticket.result() == 1, "the parent goes on"
    assert len(list(iterator)) == 2
