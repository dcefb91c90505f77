"""Several processes write what one writes, whatever becomes of them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from worker_models import breaks, dies_at_start, dying_annotator, fake_annotator, refuses, slow_annotator

from constrained_ner.annotation.pipeline import BLOCK
from constrained_ner.annotation.result import Annotated
from constrained_ner.annotation.settings import Settings
from constrained_ner.data import Sentence
from constrained_ner.errors import ModelError, UserError
from constrained_ner.experiments.grid import grid, run_grid
from constrained_ner.formats.mentions import mentions_path
from constrained_ner.runs.job import annotate_file
from constrained_ner.runs.journal import SentenceResult, journal_path
from constrained_ner.runs.progress import ProgressDisplay
from constrained_ner.runs.record import RunRecord, record_path
from constrained_ner.runs.stretches import Stretch, annotate_all, stretches
from constrained_ner.runs.team import worker_processes
from constrained_ner.runs.worker import Open
from constrained_ner.runs.workers import WorkerProcesses

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"
WORDS = ("aspirin", "iron", "ibuprofen", "warfarin", "of", "and", "zinc")
N_SENTENCES = 3 * BLOCK + 10


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four blocks of short sentences, in documents of seven; some are empty, and no two are the same."""
    path = tmp_path_factory.mktemp("input") / "in.xml"
    sentences = [
        f'<sentence id="s{n}" text="{_text(n)}"/>' + ("</document><document>" if n % 7 == 6 else "")
        for n in range(N_SENTENCES)
    ]
    path.write_text(f"<corpus><document>{''.join(sentences)}</document></corpus>")
    return path


def _text(n: int) -> str:
    return "" if n % 31 == 30 else f"{WORDS[n % 7]} {WORDS[n * n % 5]} n{n}"


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    annotate_file(source, out, open_annotator=lambda s, notify: fake_annotator(s, None, notify))
    return out


class Said(ProgressDisplay):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def with_workers(
    source: Path, out: Path, open_annotator: Open = fake_annotator, n: int = 2, **options: Any
) -> tuple[RunRecord, list[str]]:
    said = Said()
    with WorkerProcesses(n, open_annotator) as pool:
        record = annotate_file(source, out, Settings(**options), workers=pool, progress=said)
    return record, said.lines


def assert_same(out: Path, whole: Path) -> None:
    assert out.read_bytes() == whole.read_bytes() != b""
    assert mentions_path(out).read_bytes() == mentions_path(whole).read_bytes()
    (one, other) = (RunRecord.load(record_path(path)) for path in (out, whole))
    assert (one.n_sentences, one.n_passes, one.n_tokens) == (
        other.n_sentences,
        other.n_passes,
        other.n_tokens,
    )
    assert one.fingerprint == other.fingerprint
    assert not journal_path(out).exists()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_any_number_of_workers_writes_the_same_bytes(
    source: Path, whole: Path, tmp_path: Path, n: int
) -> None:
    record, said = with_workers(source, tmp_path / "out", n=n)
    assert_same(tmp_path / "out", whole)
    assert len(record.peak_memory_mb) <= n
    assert all(10 < peak < 2000 for peak in record.peak_memory_mb)
    assert said.count("note: the model was loaded") == 1  # though each worker says so


def test_two_workers_with_the_bundled_model_fit_a_machine_of_512_mb(tmp_path: Path) -> None:
    with WorkerProcesses(2) as pool:
        record = annotate_file(SAMPLE, tmp_path / "out", workers=pool)
    assert record.n_sentences > BLOCK
    assert len(record.peak_memory_mb) == 2
    assert sum(record.peak_memory_mb) < 470  # they share some 50 of it, and the parent has no model


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "deaths").mkdir()
    dying = partial(dying_annotator, tmp_path / "deaths", ("n5", "n70", "n100"), 1)
    record, _ = with_workers(source, tmp_path / "out", dying)
    assert len(list((tmp_path / "deaths").iterdir())) == 3
    assert record.failures == ()
    assert_same(tmp_path / "out", whole)


def test_a_worker_killed_from_outside_is_replaced(source: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    killed: list[int] = []

    class Killing(ProgressDisplay):
        def advance(self) -> None:
            super().advance()
            if self._n_done == 20:
                killed.append(int(next((tmp_path / "ids").iterdir()).name))
                os.kill(killed[0], signal.SIGKILL)

    with WorkerProcesses(2, partial(slow_annotator, tmp_path / "ids")) as pool:
        annotate_file(source, tmp_path / "out", workers=pool, progress=Killing(quiet=True))
    assert killed
    assert_same(tmp_path / "out", whole)


def test_a_sentence_that_kills_every_process_fails_and_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "deaths").mkdir()
    dying = partial(dying_annotator, tmp_path / "deaths", ("n6", "n7"), 99)  # n7 follows n6
    record, said = with_workers(source, tmp_path / "out", dying)
    assert [sentence_id for sentence_id, _ in record.failures] == ["s6", "s7"]
    assert all("the process died at it 3 times: killed by SIGKILL" in why for _, why in record.failures)
    assert any(line.startswith("sentence s6: the process died") for line in said)
    assert record.n_sentences == N_SENTENCES


def test_workers_that_die_at_every_sentence_are_one_error_and_no_failures(
    source: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "deaths").mkdir()
    dying = partial(dying_annotator, tmp_path / "deaths", [f"n{n}" for n in range(N_SENTENCES)], 99)
    with pytest.raises(ModelError, match=r"die at every sentence \(killed by SIGKILL .* fewer --workers"):
        with_workers(source, tmp_path / "out", dying)
    assert not (tmp_path / "out").exists()
    record, _ = with_workers(source, tmp_path / "out")  # none of them counts as done
    assert record.failures == ()
    assert_same(tmp_path / "out", whole)


def test_workers_that_die_at_the_start_are_one_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        with_workers(source, tmp_path / "out", dies_at_start)
    assert str(caught.value).startswith(
        "worker processes die while they start (exit code 7, 3 times in a row)"
    )
    assert "\n" not in str(caught.value)


def test_what_a_worker_refuses_is_the_callers_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no\.gguf: no such model file$"):
        with_workers(source, tmp_path / "out", refuses)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a mistake of ours"):
        with_workers(source, tmp_path / "out", breaks)


class Stopping(ProgressDisplay):
    """Ctrl-C after n sentences."""

    def __init__(self, n: int) -> None:
        super().__init__(quiet=True)
        self.n = n

    def advance(self) -> None:
        super().advance()
        if self._n_done == self.n:
            raise KeyboardInterrupt


@pytest.mark.parametrize("then", [None, 2])
def test_a_run_that_was_stopped_resumes_with_any_number_of_workers(
    source: Path, whole: Path, tmp_path: Path, then: int | None
) -> None:
    with WorkerProcesses(3, fake_annotator) as pool, pytest.raises(KeyboardInterrupt):
        annotate_file(source, tmp_path / "out", workers=pool, progress=Stopping(60))
    if then is None:
        record = annotate_file(
            source, tmp_path / "out", open_annotator=lambda s, notify: fake_annotator(s, None, notify)
        )
    else:
        record, _ = with_workers(source, tmp_path / "out", n=then)
    assert record.n_resumed == 60  # whichever workers had done them
    assert_same(tmp_path / "out", whole)


def test_a_pool_serves_a_whole_grid_with_one_model_a_worker(source: Path, tmp_path: Path) -> None:
    arms = grid(Settings(), boundary=["word", "char"])
    gold = tmp_path / "gold.xml"
    entity = '<entity id="e" charOffset="0-3" type="drug" text="zinc"/>'
    gold.write_text(f'<d><sentence id="s" text="zinc">{entity}</sentence></d>')
    said = Said()
    with WorkerProcesses(2, fake_annotator) as pool:
        for arm in arms:
            annotate_file(gold, tmp_path / f"{arm.name}.out", arm.settings, workers=pool, progress=said)
    assert said.lines.count("note: the model was loaded") == 1
    for workers in (1, 2):
        out = tmp_path / f"grid-{workers}"
        outcome = run_grid(arms, gold, out, open_annotator=fake_annotator, workers=workers)
        assert not outcome.failed
        for arm in arms:
            assert (out / f"{arm.name}.out").read_bytes() == (tmp_path / f"{arm.name}.out").read_bytes()


SCRIPT = """
    import sys
    from functools import partial
    from pathlib import Path
    from worker_models import slow_annotator
    from constrained_ner.runs.job import annotate_file
    from constrained_ner.runs.workers import WorkerProcesses
    if __name__ == "__main__":
        with WorkerProcesses(2, partial(slow_annotator, Path(sys.argv[3]))) as pool:
            try:
                annotate_file(Path(sys.argv[1]), Path(sys.argv[2]), workers=pool)
            except KeyboardInterrupt:
                sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGKILL", "SIGTERM"])
def test_nothing_is_left_behind(source: Path, whole: Path, tmp_path: Path, how: str) -> None:
    """Ctrl-C goes to the whole group of processes, as from a terminal; the others to the parent alone."""
    (tmp_path / "ids").mkdir()
    (tmp_path / "main.py").write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", source, tmp_path / "out", tmp_path / "ids"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _wait_until(lambda: len(list((tmp_path / "ids").iterdir())) == 2)
    _wait_until(lambda: journal_path(tmp_path / "out").read_bytes().count(b"\n") > 10)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    _, error = process.communicate(timeout=30)
    assert "Traceback" not in error
    if how == "Ctrl-C":
        assert (process.returncode, error) == (130, "")
    for path in (tmp_path / "ids").iterdir():
        _wait_until(lambda path=path: not _is_alive(int(path.name)))
    record, _ = with_workers(source, tmp_path / "out")
    assert record.n_resumed > 0
    assert_same(tmp_path / "out", whole)


def _wait_until(holds: Any, patience_s: float = 60.0) -> None:
    until_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_one_worker_is_this_process_and_a_server_takes_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "constrained_ner.runs.team.usable_processors"
    monkeypatch.setattr(module, lambda: 1)
    for asked, model in ((1, None), ("auto", None), ("auto", "openai:m"), (1, "openai:m")):
        with worker_processes(asked, model) as pool:
            assert pool is None
    monkeypatch.setattr(module, lambda: 3)
    with worker_processes("auto", None) as pool:
        assert pool is not None
        assert pool._n == 3
    with (
        pytest.raises(UserError, match="--workers 2: openai:m is on a server; use --batch"),
        worker_processes(2, "openai:m"),
    ):
        pass


# What is left to do


def made(n: int) -> list[Sentence]:
    return [Sentence(f"s{number}", "x") for number in range(n)]


def done(*numbers: int) -> dict[str, SentenceResult]:
    return {f"s{number}": SentenceResult(sentence_id=f"s{number}") for number in numbers}


def shape(found: list[Stretch]) -> list[tuple[int, list[str]]]:
    return [(len(s.done), [s.sentences[0].id, s.sentences[-1].id]) for s in found]


def left_of(
    sentences: list[Sentence], done: dict[str, SentenceResult], *, proven: bool = False
) -> list[Stretch]:
    return list(stretches(sentences, done.get, proven=proven))


class Recording:
    """Stands in for an annotator, and writes down what it is asked to run."""

    settings = Settings()

    def __init__(self) -> None:
        self.runs: list[tuple[int, bool, list[str]]] = []

    def run(
        self, sentences: Iterable[Sentence], *, finished: Sequence[Sentence | None], proven: bool, **_: object
    ) -> Iterator[Annotated]:
        ids: list[str] = []
        self.runs.append((len(finished), proven, ids))
        for sentence in sentences:
            ids.append(sentence.id)
            yield Annotated(sentence)


def runs_of(found: Iterable[Stretch]) -> list[tuple[int, bool, str, str]]:
    annotator = Recording()
    results = [a.sentence.id for a in annotate_all(annotator, found, None)]  # type: ignore[arg-type]
    assert results == [name for _, _, ids in annotator.runs for name in ids]
    return [(n_done, proven, ids[0], ids[-1]) for n_done, proven, ids in annotator.runs]


def test_stretches_begin_with_blocks_and_take_over_what_is_done_up_to_a_gap() -> None:
    b = BLOCK
    sentences = made(3 * b + 5)
    whole_first = range(b)
    assert shape(left_of(sentences, {})) == [
        (0, ["s0", f"s{b - 1}"]),
        (0, [f"s{b}", f"s{2 * b - 1}"]),
        (0, [f"s{2 * b}", f"s{3 * b - 1}"]),
        (0, [f"s{3 * b}", f"s{3 * b + 4}"]),
    ]
    left = left_of(sentences, done(*whole_first, b, b + 1, b + 3, 3 * b))
    assert shape(left) == [
        (2, [f"s{b + 2}", f"s{2 * b - 1}"]),
        (0, [f"s{2 * b}", f"s{3 * b - 1}"]),
        (1, [f"s{3 * b + 1}", f"s{3 * b + 4}"]),
    ]
    assert runs_of(left) == [
        (2, False, f"s{b + 2}", f"s{3 * b - 1}"),
        (1, False, f"s{3 * b + 1}", f"s{3 * b + 4}"),
    ]
    assert left_of(sentences, done(*range(3 * b + 5))) == []
    assert runs_of([]) == []


def test_stretches_are_made_as_they_are_asked_for() -> None:
    taken: list[str] = []

    def source() -> Iterator[Sentence]:
        for sentence in made(10 * BLOCK):
            taken.append(sentence.id)
            yield sentence

    next(annotate_all(Recording(), stretches(source(), {}.get), None))  # type: ignore[arg-type]
    assert len(taken) == BLOCK


def test_what_was_done_before_proves_that_the_model_answers() -> None:
    sentences = made(2 * BLOCK)
    assert runs_of(left_of(sentences, {}, proven=True)) == [(0, True, "s0", f"s{2 * BLOCK - 1}")]
