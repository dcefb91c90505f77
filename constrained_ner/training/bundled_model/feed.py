"""The batches of a stage, chunk by chunk, made by other processes ahead of the training.

Writing examples takes more time than a GPU needs to learn from them. Each chunk is drawn from its own seed,
so it is the same whoever makes it: feeder k of n makes every n-th chunk and waits until it is wanted. Feeders
are forks, which have the whole corpus without reading it, and never touch the model.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count, cycle
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ..batches import Batch, bucketed
from .sources import Source

Packed = tuple[list[list[NDArray[Any]]], np.random.Generator]
_ARRAYS = [field.name for field in fields(Batch)]


@dataclass(frozen=True)
class Chunk:
    """Batches in the order of training. rng: the chunk's random numbers, from where making it left them."""

    batches: list[Batch]
    rng: np.random.Generator


def make_chunk(source: Source, seed: list[int], n_batches: int, batch_tokens: int, pad: int) -> Chunk:
    """Draw examples for about so many batches, and lay them out."""
    rng = np.random.default_rng(seed)
    examples = source.chunk(batch_tokens * n_batches, rng)
    return Chunk(list(bucketed(examples, batch_tokens, pad, rng)), rng)


def chunks(make: Callable[[int], Chunk], first: int, n_feeders: int) -> Generator[Chunk, None, None]:
    """Yield make(first), make(first + 1), ... without end; close it to end the feeders.

    n_feeders: 0 makes each chunk here, when it is wanted.
    Raises what `make` raises, and UserError if a feeder dies.
    """
    if not n_feeders:
        yield from map(make, count(first))
    if "fork" not in multiprocessing.get_all_start_methods():
        raise UserError("--feeders needs a system on which processes can fork, such as Linux")
    feeders: list[tuple[BaseProcess, Connection]] = []
    try:
        for number in range(first, first + n_feeders):
            feeders.append(_feeder(make, count(number, n_feeders), [reader for _, reader in feeders]))
        for process, reader in cycle(feeders):
            try:
                made = reader.recv()
            except (EOFError, OSError):
                process.join()
                raise UserError(
                    f"a feeder died (exit code {process.exitcode}), perhaps for lack of memory: "
                    "try fewer --feeders"
                ) from None
            if isinstance(made, Exception):
                raise made
            yield _unpacked(made)
    finally:
        for process, reader in feeders:
            reader.close()
            process.terminate()
        for process, _ in feeders:
            process.join()


def _feeder(
    make: Callable[[int], Chunk], numbers: count[int], others: list[Connection]
) -> tuple[BaseProcess, Connection]:
    """Start a feeder; the end of its pipe to read from. others: those of earlier feeders."""
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_feed, args=(make, numbers, writer, [reader, *others]), daemon=True)
    with warnings.catch_warnings():  # threads of PyTorch, which a feeder does not use
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    writer.close()  # so that reading ends when the feeder does
    return process, reader


def _feed(
    make: Callable[[int], Chunk], numbers: count[int], writer: Connection, readers: list[Connection]
) -> None:
    """Make chunks until nobody reads them."""
    gc.freeze()  # never free what belongs to the model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which ends its feeders
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for reader in readers:
        reader.close()  # so that writing ends when the training does
    with suppress(BrokenPipeError):
        for number in numbers:
            writer.send(_tried(make, number))


def _tried(make: Callable[[int], Chunk], number: int) -> Packed | Exception:
    try:
        return _packed(make(number))
    except Exception as error:
        return error


def _packed(chunk: Chunk) -> Packed:
    """The arrays of each batch in the smallest types that hold them: what waits is sent in less time."""
    return [[_small(getattr(batch, name)) for name in _ARRAYS] for batch in chunk.batches], chunk.rng


def _unpacked(packed: Packed) -> Chunk:
    batches, rng = packed
    return Chunk([Batch(*map(_usual, arrays)) for arrays in batches], rng)


def _small(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.int64 or not array.size:
        return array
    low, high = array.min(), array.max()
    small = (t for t in (np.int8, np.int16, np.int32) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return array.astype(next(small, np.int64))


def _usual(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.int64) if array.dtype.kind == "i" else array
