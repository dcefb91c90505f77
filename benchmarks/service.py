"""The service under load, against the same annotator called in a loop, in one run. Every answer is checked.

    python benchmarks/service.py examples/sample.xml --answers 2000
    python benchmarks/service.py devel.xml --clients 32 --answers 100000     # a quarter of an hour
    python benchmarks/service.py devel.xml --workers 2

`bin/serve` runs on the loopback interface, and this process is all the clients; each sends a sentence, waits
for the answer, compares its bytes with those of the loop, and sends the next. Before each number of clients
the loop is timed again, so that a machine that others use slows both. Columns:

    of the loop's   sentences a second, as a share of the loop's
    p99 / loop      the 99th percentile in sentences of the loop. With n clients on one worker, n sentences
                    are under way, so it cannot be much less than n
    p99 / mean      the same in mean answers: what the service itself adds to some of them
    CPU ms, loop's  processor time of a sentence, which others slow less: of the service and its workers, and
                    of the loop
    MB              memory of the service with its workers, after a tenth of the answers and at the end

Then faults: more clients than places, clients that vanish in the middle, clients that do not read; with
--workers, a worker that is killed; at last, the order to stop while requests are under way. Exits with 1 if
an answer was lost, wrong or somebody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from served import Client, Served, memory_mb, request, served

from constrained_ner import Annotator, Settings
from constrained_ner.data import Document
from constrained_ner.formats.documents import read_documents
from constrained_ner.service.answers import as_json, record_of
from constrained_ner.service.engine import ThisProcess

HEADS = (
    "clients  answers  sentences/s  of the loop's  p50 ms  p95 ms  p99 ms  p99 / loop  p99 / mean  "
    "loop ms  CPU ms  loop's          MB  wrong"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", type=Path, help="sentences to send, in any format that can be read")
    parser.add_argument("--answers", type=int, default=400, help="answers in all, shared by --clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--sentences", type=int, default=200, help="different sentences")
    parser.add_argument("--model", help="as for bin/serve")
    parser.add_argument("--workers", type=int, default=1, help="as for bin/serve")
    asked = parser.parse_args()
    found = [s.text for document in read_documents(asked.input) for s in document if s.text.strip()]
    texts = found[: asked.sentences]
    options = ["--workers", str(asked.workers), "--time-limit", "600"]  # slow is shown, and is no fault
    options += ["--model", asked.model] if asked.model else []
    with Annotator.load(settings=Settings(model=asked.model)) as annotator:
        loop = Loop(ThisProcess(annotator), texts)
        with served(options) as service:
            wrong = asyncio.run(load(service, loop, asked.clients, asked.answers))
        with served([*options, "--queue", "8"]) as service:
            wrong += asyncio.run(overload(service, loop))
            if asked.workers > 1:
                wrong += asyncio.run(killed_worker(service, loop))
            wrong += asyncio.run(stopped(service, loop))
    print(f"wrong, lost or swapped answers: {wrong}")
    sys.exit(1 if wrong else 0)


@dataclass
class Loop:
    """The texts, and what the annotator answers to them when it is called in a loop."""

    engine: ThisProcess
    texts: Sequence[str]
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bodies = [self.answer(text) for text in self.texts]  # also warms up

    def answer(self, text: str) -> bytes:
        """The bytes with which the service must answer."""
        found = self.engine.annotate(Document.of_text("0", text), {}).result()
        return b'{"results": [' + as_json(record_of(found)) + b"]}"

    def seconds(self, numbers: Iterable[int]) -> tuple[float, float]:
        """Seconds for a sentence, and those of the processor."""
        texts = [self.texts[i] for i in numbers]
        began, cpu_s = time.perf_counter(), time.process_time()
        for text in texts:
            self.answer(text)
        return (time.perf_counter() - began) / len(texts), (time.process_time() - cpu_s) / len(texts)


@dataclass
class Tally:
    """What clients saw. times: seconds of each answer."""

    times: array[float] = field(default_factory=lambda: array("d"))
    n_wrong: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


async def load(service: Served, loop: Loop, clients: Sequence[int], n_answers: int) -> int:
    """The table; returns the number of wrong answers."""
    print(HEADS)
    order = random.Random(0)
    wrong, own_mb = 0, memory_mb()
    for n_clients in clients:
        n = max(n_answers // len(clients), 2 * n_clients)
        numbers = [order.randrange(len(loop.texts)) for _ in range(n)]
        loop_s, loop_cpu_s = loop.seconds(numbers[:200])
        began, cpu_s = time.perf_counter(), service.processor_s()
        tally = Tally()
        watched = asyncio.ensure_future(memory_after(service, n // 10, tally))
        await ask_all(service.port, numbers, n_clients, loop, tally)
        took_s, cpu_s = time.perf_counter() - began, service.processor_s() - cpu_s
        early_mb = await watched
        mean_s = statistics.fmean(tally.times)
        cuts = statistics.quantiles(tally.times, n=100, method="inclusive")
        p50, p95, p99 = (1e3 * cuts[at] for at in (49, 94, 98))
        print(
            f"{n_clients:7}  {n:7}  {n / took_s:11.1f}  {n / took_s * loop_s:13.0%}  {p50:6.0f}  {p95:6.0f}  "
            f"{p99:6.0f}  {p99 / loop_s / 1e3:10.1f}  {p99 / mean_s / 1e3:10.2f}  {1e3 * loop_s:7.1f}  "
            f"{1e3 * cpu_s / n:6.1f}  {1e3 * loop_cpu_s:6.1f}  {early_mb:4.0f}, {service.memory_mb():4.0f}  "
            f"{tally.n_wrong:5}",
            flush=True,
        )
        wrong += tally.n_wrong + n - len(tally.times)
    print(f"memory of the clients: {own_mb:.0f} MB at first, {memory_mb():.0f} MB at the end")
    return wrong


async def memory_after(service: Served, n: int, tally: Tally) -> float:
    while len(tally.times) < n:
        await asyncio.sleep(0.2)
    return service.memory_mb()


async def ask_all(port: int, numbers: Iterable[int], n_clients: int, loop: Loop, tally: Tally) -> None:
    """Ask for these texts, by so many clients at once."""
    left = iter(numbers)

    async def ask() -> None:
        client = Client(port)
        for number in left:
            began = time.perf_counter()
            status, _, body = await client.annotate(loop.texts[number])
            tally.times.append(time.perf_counter() - began)
            tally.n_wrong += status != 200 or body != loop.bodies[number]
        client.close()

    await asyncio.gather(*(ask() for _ in range(n_clients)))


async def overload(service: Served, loop: Loop) -> int:
    """24 clients for 8 places, with others that vanish, and that do not read; returns the wrong answers."""
    tally, done, order = Tally(), asyncio.Event(), random.Random(1)

    async def pushing() -> None:
        client = Client(service.port)
        for _ in range(20):
            number = order.randrange(len(loop.texts))
            status, head, body = await client.annotate(loop.texts[number])
            tally.statuses[str(status)] += 1
            if status == 200:
                tally.n_wrong += body != loop.bodies[number]
            else:
                tally.n_wrong += status != 503 or b"retry-after" not in head
                await asyncio.sleep(0.05)
        client.close()

    async def vanishing() -> None:
        while not done.is_set():
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(request(json.dumps({"texts": loop.texts[:50]}).encode()))
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            tally.statuses["vanished"] += 1

    async def not_reading() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
        writer.write(request(b"", "/v1/annotate/stream", 10**9))
        line = json.dumps({"text": " " * 20_000}).encode() + b"\n"
        while not done.is_set():
            writer.write(line)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except (TimeoutError, asyncio.TimeoutError, ConnectionError):
                break
        writer.transport.abort()

    others = [asyncio.ensure_future(other()) for other in (vanishing, vanishing, not_reading, not_reading)]
    await asyncio.gather(*(pushing() for _ in range(24)))
    done.set()
    await asyncio.gather(*others, return_exceptions=True)
    afterwards = Tally()
    await ask_all(service.port, range(min(20, len(loop.texts))), 1, loop, afterwards)
    print(
        f"24 clients for 8 places, with 2 that vanish and 2 that do not read: {tally.statuses['200']} "
        f"answered, {tally.statuses['503']} told to come back, {tally.statuses['vanished']} vanished, "
        f"{tally.n_wrong} wrong; afterwards {afterwards.n_wrong} wrong"
    )
    return tally.n_wrong + afterwards.n_wrong


async def killed_worker(service: Served, loop: Loop) -> int:
    """A worker is killed while 8 clients wait for answers; returns those that were wrong or lost."""
    tally, numbers = Tally(), [n % len(loop.texts) for n in range(200)]
    asking = asyncio.ensure_future(ask_all(service.port, numbers, 8, loop, tally))
    while len(tally.times) < 50:
        await asyncio.sleep(0.01)
    os.kill(service.pids()[-1], signal.SIGKILL)
    await asking
    wrong = tally.n_wrong + len(numbers) - len(tally.times)
    print(f"a worker killed after 50 of 200 answers, 8 under way: {len(tally.times)} answered, {wrong} wrong")
    return wrong


async def stopped(service: Served, loop: Loop) -> int:
    """The service is told to stop while 8 requests are under way: they are answered; returns those not."""
    asked = [asyncio.ensure_future(Client(service.port).annotate(text)) for text in loop.texts[:8]]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    service.process.terminate()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    right = [
        not isinstance(answer, BaseException) and answer[0] == 200 and answer[2] == body
        for answer, body in zip(answers, loop.bodies, strict=False)
    ]
    print(f"told to stop with {len(right) - 1} of {len(right)} requests under way: {sum(right)} answered")
    return len(right) - sum(right)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
