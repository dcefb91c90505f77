"""For benchmarks/service.py: a service in processes of its own, and clients that cost little."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A running service. process: of `bin/serve`, whose children are the workers."""

    port: int
    process: subprocess.Popen[str]

    def pids(self) -> list[int]:
        """The service and its workers."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [self.process.pid, *(int(pid) for path in children for pid in path.read_text().split())]

    def processor_s(self) -> float:
        """Seconds that the service and its workers have computed; not a number where there is no /proc."""
        try:
            fields = [_stat(pid) for pid in self.pids()]
        except OSError:
            return math.nan
        return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """What the service and its workers hold."""
        return sum(map(memory_mb, self.pids()))


def memory_mb(pid: int | str = "self") -> float:
    """What a process holds of memory, in MB; not a number where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@contextmanager
def served(options: Sequence[str]) -> Iterator[Served]:
    """`bin/serve` on a free port of the loopback interface, until the block ends."""
    command = [sys.executable, "-c", "from constrained_ner.cli.start import serve; serve()"]
    process = subprocess.Popen([*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on " in line:
                break
        else:
            raise SystemExit("the service did not start")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # its log
        yield Served(int(line.rpartition(":")[2]), process)
    finally:
        process.terminate()
        process.wait(60)
    drain.wait(10)


class Client:
    """A connection that stays open. Without a library: this one costs a tenth of the service's time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def annotate(self, text: str) -> tuple[int, bytes, bytes]:
        """Ask for the names in a text. Returns status, head and body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request(json.dumps({"texts": [text]}).encode()))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(maxsplit=1)[0])
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head.split(maxsplit=2)[1]), head, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(body: bytes, path: str = "/v1/annotate", length: int | None = None) -> bytes:
    """A request as bytes. length: what its head says, if that is not the body's."""
    n = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {n}\r\n\r\n".encode() + body
