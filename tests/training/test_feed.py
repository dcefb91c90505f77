"""Batches that other processes make: the same ones in the same order, and no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import closing
from itertools import islice

import numpy as np
import pytest

from constrained_ner.errors import UserError
from constrained_ner.training.batches import Example
from constrained_ner.training.bundled_model.feed import Chunk, chunks, make_chunk
from constrained_ner.training.bundled_model.sources import Mixture, Share


def make(number: int) -> Chunk:
    drawn = Share(1.0, lambda rng: Example(tuple(rng.integers(1, 9, rng.integers(4, 20)).tolist()), 2))
    return make_chunk(Mixture([drawn]), [7, number], n_batches=3, batch_tokens=50, pad=0)


def test_feeders_make_what_would_be_made_here() -> None:
    with closing(chunks(make, 5, 0)) as here, closing(chunks(make, 5, 3)) as elsewhere:
        for ours, theirs in islice(zip(here, elsewhere, strict=True), 8):
            assert len(ours.batches) == len(theirs.batches) > 1
            for a, b in zip(ours.batches, theirs.batches, strict=True):
                for name in a.__slots__:
                    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
            assert ours.rng.random() == theirs.rng.random()
        assert len(multiprocessing.active_children()) == 3
    assert multiprocessing.active_children() == []


def test_an_error_is_raised_where_the_chunk_is_wanted() -> None:
    def fails(number: int) -> Chunk:
        if number == 3:
            raise ValueError("chunk 3")
        return make(number)

    found = chunks(fails, 0, 2)
    assert len(list(islice(found, 3))) == 3
    with pytest.raises(ValueError, match="chunk 3"):
        next(found)
    assert multiprocessing.active_children() == []


def test_a_feeder_that_dies_is_an_error() -> None:
    def killed(number: int) -> Chunk:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(number)

    found = chunks(killed, 0, 2)
    assert len(list(islice(found, 3))) == 3
    with pytest.raises(UserError, match=r"a feeder died \(exit code -9\).*fewer --feeders"):
        next(found)
    assert multiprocessing.active_children() == []


def test_feeders_end_when_the_training_is_killed() -> None:
    """Whoever holds an end of the pipe holds it open: when the last feeder has ended, reading ends."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    training = multiprocessing.get_context("fork").Process(target=_train_for_ever, args=(writer,))
    training.start()
    writer.close()
    assert reader.recv() == "fed"
    training.kill()
    assert reader.poll(20)
    with pytest.raises(EOFError):
        reader.recv()
    training.join()


def _train_for_ever(writer: multiprocessing.connection.Connection) -> None:
    feed = chunks(make, 0, 3)
    next(feed)
    writer.send("fed")
    signal.pause()
