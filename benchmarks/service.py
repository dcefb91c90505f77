"""The service under load, against the same annotator called in a loop, in one run. Every answer is checked.

    python benchmarks/service.py examples/sample.xml --answers 2000

One process serves on the loopback interface, another is all the clients; each client sends a sentence, waits
for the answer, and sends the next. Before each number of clients the loop is timed again beside it, so that a
machine that others use slows both. "CPU ms" are the processor time of a sentence, which others slow less: the
service's, all threads, and the loop's. After that: overload (more clients than places), clients that vanish
in the middle, clients that do not read. Exits with 1 if any answer is lost, wrong or somebody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from constrained_ner import Annotator, Settings
from constrained_ner.data import Document
from constrained_ner.formats.documents import read_documents
from constrained_ner.service.answers import record_of
from constrained_ner.service.engine import Stop, ThisProcess

CLIENTS = (1, 8, 32, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", type=Path, help="sentences to send, in any format that can be read")
    parser.add_argument("--answers", type=int, default=400, help="answers in all")
    parser.add_argument("--sentences", type=int, default=200, help="different sentences")
    parser.add_argument("--model", help="as for bin/serve")
    parser.add_argument("--workers", default="1", help="as for bin/serve")
    asked = parser.parse_args()
    texts = sentences(asked.input, asked.sentences)
    with Annotator.load(settings=Settings(model=asked.model)) as annotator:
        engine = ThisProcess(annotator)
        wanted = [found_in(engine, text) for text in texts]  # also warms up
        command = ["--workers", asked.workers, *(["--model", asked.model] if asked.model else [])]
        with service(command) as (url, process):
            wrong = asyncio.run(load(url, process, engine, texts, wanted, asked.answers))
        with service([*command, "--queue", "8", "--time-limit", "60"]) as (url, _):
            wrong += asyncio.run(trouble(url, texts, wanted))
    print(f"wrong, lost or swapped answers: {wrong}")
    sys.exit(1 if wrong else 0)


def sentences(path: Path, most: int) -> list[str]:
    found = [s.text for document in read_documents(path) for s in document if s.text.strip()]
    return found[:most]


def found_in(engine: ThisProcess, text: str) -> dict[str, Any]:
    return record_of(engine.annotate(Document.of_text("0", text), {}, Stop()))


@contextmanager
def service(options: Sequence[str]) -> Any:
    """bin/serve on a free port, in a process of its own."""
    command = [sys.executable, "-c", "from constrained_ner.cli.start import serve; serve()"]
    process = subprocess.Popen([*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on " in line:
                break
        else:
            raise SystemExit("the service did not start")
        # Nobody would read its log: it goes on without.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield line.split("listening on ")[1].strip(), process.pid
    finally:
        process.terminate()
        process.wait(60)
        drain.wait(10)


async def load(
    url: str, process: int, engine: ThisProcess, texts: Sequence[str], wanted: Sequence[Any], n_answers: int
) -> int:
    """The table; returns the number of wrong answers."""
    print(
        "clients  answers  sentences/s  of the loop's  p50 ms  p95 ms  p99 ms  loop ms  CPU ms  loop's  wrong"
    )
    wrong = 0
    order = random.Random(0)
    for n_clients in CLIENTS:
        n = max(n_answers // len(CLIENTS), 2 * n_clients)
        numbers = [order.randrange(len(texts)) for _ in range(n)]
        loop_s, loop_cpu_s = loop_time(engine, [texts[i] for i in numbers[:200]])
        began, cpu_s = time.perf_counter(), processor_s(process)
        times, bad = await ask_all(url, numbers, n_clients, texts, wanted)
        cpu_s = (processor_s(process) - cpu_s) / n
        rate = len(times) / (time.perf_counter() - began)
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        p50, p95, p99 = (1e3 * cuts[at] for at in (49, 94, 98))
        share = rate * loop_s
        print(
            f"{n_clients:7}  {n:7}  {rate:11.1f}  {share:13.0%}  {p50:6.0f}  {p95:6.0f}  {p99:6.0f}  "
            f"{1e3 * loop_s:7.1f}  {1e3 * cpu_s:6.1f}  {1e3 * loop_cpu_s:6.1f}  {bad:5}",
            flush=True,
        )
        wrong += bad + n - len(times)
    return wrong


def loop_time(engine: ThisProcess, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds for a sentence in a loop, and those of the processor."""
    began, cpu_s = time.perf_counter(), time.process_time()
    for text in texts:
        found_in(engine, text)
    return (time.perf_counter() - began) / len(texts), (time.process_time() - cpu_s) / len(texts)


def processor_s(process: int) -> float:
    """Seconds that a process has computed, without its children; not a number where there is no /proc."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask_all(
    url: str, numbers: Sequence[int], n_clients: int, texts: Sequence[str], wanted: Sequence[Any]
) -> tuple[list[float], int]:
    """Seconds of each answer, and how many were wrong."""
    left = iter(numbers)
    times: list[float] = []
    wrong = 0

    async def client() -> None:  # without certificates: 128 clients would spend 3 s on reading them
        nonlocal wrong
        async with httpx.AsyncClient(base_url=url, timeout=300, verify=False) as http:
            for number in left:
                began = time.perf_counter()
                answer = await http.post("/v1/annotate", json={"texts": [texts[number]]})
                times.append(time.perf_counter() - began)
                wrong += answer.status_code != 200 or answer.json()["results"] != [wanted[number]]

    await asyncio.gather(*(client() for _ in range(n_clients)))
    return times, wrong


async def trouble(url: str, texts: Sequence[str], wanted: Sequence[Any]) -> int:
    """Overload, with clients that vanish, and that do not read; returns the number of wrong answers."""
    statuses: Counter[int] = Counter()
    wrong = 0
    done = asyncio.Event()
    port = int(url.rpartition(":")[2])
    order = random.Random(1)

    async def pushing() -> None:
        nonlocal wrong
        async with httpx.AsyncClient(base_url=url, timeout=300, verify=False) as http:
            for _ in range(20):
                number = order.randrange(len(texts))
                answer = await http.post("/v1/annotate", json={"texts": [texts[number]]})
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    wrong += answer.json()["results"] != [wanted[number]]
                else:
                    wrong += answer.status_code != 503 or "Retry-After" not in answer.headers
                    await asyncio.sleep(0.05)

    async def vanishing() -> None:
        while not done.is_set():
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({"texts": texts[:50]}).encode()
            writer.write(head("/v1/annotate", len(body)) + body)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            statuses[0] += 1

    async def not_reading() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(head("/v1/annotate/stream", 10**9))
        line = json.dumps({"text": " " * 20_000}).encode() + b"\n"
        while not done.is_set():
            writer.write(line)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except (TimeoutError, asyncio.TimeoutError, ConnectionError):
                break
        writer.transport.abort()

    others = [asyncio.create_task(other()) for other in (vanishing, vanishing, not_reading, not_reading)]
    await asyncio.gather(*(pushing() for _ in range(24)))
    done.set()
    await asyncio.gather(*others, return_exceptions=True)
    _, bad = await ask_all(url, range(min(20, len(texts))), 1, texts, wanted)  # and afterwards all is well
    print(
        f"24 clients for 8 places, with 2 that vanish and 2 that do not read: {statuses[200]} answered, "
        f"{statuses[503]} told to come back, {statuses[0]} vanished, {wrong} wrong; afterwards {bad} wrong"
    )
    return wrong + bad


def head(path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
