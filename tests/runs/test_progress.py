"""The display of progress in a log file: plain lines, not too many; nothing if it is to be quiet."""

from __future__ import annotations

import io
import time

import pytest

from constrained_ner.runs import progress
from constrained_ner.runs.progress import ProgressDisplay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    return now_s


def work(display: ProgressDisplay, clock: list[float]) -> None:
    """Two sentences that an earlier run has done, a long one of 40 s, and three short ones of 4 s."""
    with display.start(6, 2):
        for n_done in (300, 600, 900):
            clock[0] += 10
            display.within("d.s2", n_done, 1200)
        clock[0] += 10
        display.advance()
        for _ in range(3):
            clock[0] += 4
            display.advance()
    display.say("done")


def test_a_log_file_gets_a_plain_line_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    work(ProgressDisplay(stream=stream), clock)
    assert stream.getvalue().splitlines() == [
        "2/6 sentences, sentence d.s2: 300 of 1200 characters",
        "2/6 sentences, sentence d.s2: 600 of 1200 characters",
        "2/6 sentences, sentence d.s2: 900 of 1200 characters",
        "3/6 sentences, 0.0/s, 0:02:00 left",
        "6/6 sentences, 0.1/s, 0:00:00 left",
        "done",
    ]


def test_sentences_that_are_done_together_count_together(clock: list[float]) -> None:
    stream = io.StringIO()
    with ProgressDisplay(stream=stream).start(3000) as display:
        clock[0] += 20
        display.advance(1600)
    assert stream.getvalue() == "1600/3000 sentences, 80.0/s, 0:00:18 left\n"


def test_quiet_is_quiet(clock: list[float]) -> None:
    for stream in (io.StringIO(), Terminal()):
        work(ProgressDisplay(quiet=True, stream=stream), clock)
        assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_with_the_long_sentence_in_it() -> None:
    stream = Terminal()
    display = ProgressDisplay(stream=stream)
    with display.start(3):
        display.within("d.s0", 300, 1200)
        assert display._bar is not None
        display._bar.refresh()
        display.say("a line [of its own]")
        display.advance()
        display._bar.refresh()
    shown = stream.getvalue()
    assert "a line [of its own]" in shown
    assert display._bar.tasks[0].completed == 1
    assert display._bar.tasks[0].fields["note"] == "", "the note ends with its sentence"


def wait_a_little(display: ProgressDisplay, seconds: float) -> None:
    with display.during("loading tiny.gguf"):
        time.sleep(seconds)


def test_a_log_file_is_told_what_takes_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    wait_a_little(ProgressDisplay(stream=stream), 0.0)
    assert stream.getvalue() == "", "not worth a line"
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.02)
    wait_a_little(ProgressDisplay(stream=stream), 0.5)
    assert stream.getvalue() == "loading tiny.gguf\n", "once"
    wait_a_little(ProgressDisplay(stream=stream, quiet=True), 0.1)
    assert stream.getvalue().count("loading") == 1


def test_a_terminal_has_a_spinner_until_the_bar_begins() -> None:
    stream = Terminal()
    display = ProgressDisplay(stream=stream)
    with display.during("loading a model [of its own]"):
        display.note("a note")
    assert "loading a model [of its own]" in stream.getvalue()
    assert "note: a note" in stream.getvalue()
    before = len(stream.getvalue())
    display.say("done")
    assert stream.getvalue()[before:] == "done\n", "the spinner has ended"
    with pytest.raises(KeyError), display.during("failing"):
        raise KeyError
    display.say("and after an error, too")
    assert stream.getvalue().endswith("and after an error, too\n")


def test_quiet_has_no_spinner() -> None:
    stream = Terminal()
    wait_a_little(ProgressDisplay(stream=stream, quiet=True), 0.0)
    assert stream.getvalue() == ""
