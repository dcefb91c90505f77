import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from constrained_ner.annotation.result import Annotated, Effort
from constrained_ner.data import Document, Mention, Sentence, Span
from constrained_ner.errors import InputError, OutputError
from constrained_ner.files import require_writable, write_atomically
from constrained_ner.formats.evaluator_lines import write_evaluator_lines
from constrained_ner.formats.mentions import MentionRecord, mentions_path, read_mentions, write_mentions
from constrained_ner.formats.protocol import Losses
from constrained_ner.runs.journal import Journal, SentenceResult, fingerprint

RESULTS = [
    SentenceResult(
        sentence_id="s0",
        mentions=(
            MentionRecord.of(
                "s0", Mention((Span(0, 4),), "drug", "iron", 0.75, "constrained", None, ((-1.1,),))
            ),
            MentionRecord.of("s0", Mention((Span(9, 13),), "drug", "zinc", None, "fuzzy", 0.9)),
        ),
        effort={"legal_mass": 0.1},
    ),
    SentenceResult(sentence_id="s1"),
    SentenceResult(sentence_id="s2", failure="too long"),
    SentenceResult(
        sentence_id="s3",
        mentions=(MentionRecord.of("s3", Mention((Span(2, 5),), "drug", "β é", provenance="exact")),),
        problems=("odd",),
    ),
]
IDS = [result.sentence_id for result in RESULTS]
MENTIONS = (
    b'{"sentence":"s0","start":0,"end":4,"text":"iron","type":"drug","confidence":0.75,'
    b'"provenance":"constrained","margins":[[-1.1]]}\n'
    b'{"sentence":"s0","start":9,"end":13,"text":"zinc","type":"drug","provenance":"fuzzy","score":0.9}\n'
    + '{"sentence":"s3","start":2,"end":5,"text":"β é","type":"drug","provenance":"exact"}\n'.encode()
)
OUTPUT = "s0|0-3|iron|drug\ns0|9-12|zinc|drug\ns3|2-4|β é|drug\n".encode()


said: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    said.clear()


def open_journal(out: str | Path, mark: str = "same") -> Journal:
    return Journal(out, mark, said.append)


def run(out: Path, mark: str = "same", stop_after: int | None = None) -> list[str]:
    """A run that annotates what is not finished; returns the ids of what it had to do."""
    done = []
    with open_journal(out, mark) as journal:
        for result in RESULTS[len(journal) :]:
            if len(done) == stop_after:
                raise KeyboardInterrupt
            journal.append(result)
            done.append(result.sentence_id)
        write_outputs(journal, out)
        journal.remove()
    return done


def write_outputs(journal: Journal, out: Path) -> None:
    """Evaluator lines and mentions, from what is on the disk."""
    results = list(journal.results(IDS))
    assert results == RESULTS
    found = [Document("d", tuple(Sentence(r.sentence_id, "", tuple(r.found())) for r in results))]
    write_atomically(out, write_evaluator_lines(found, Losses()))
    write_atomically(mentions_path(out), write_mentions(found, Losses()))


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_run_leaves_the_output_and_nothing_else(tmp_path: Path) -> None:
    assert run(tmp_path / "out") == ["s0", "s1", "s2", "s3"]
    assert (tmp_path / "out").read_bytes() == OUTPUT
    assert (tmp_path / "out.mentions.jsonl").read_bytes() == MENTIONS
    assert files(tmp_path) == {"out", "out.mentions.jsonl"}


def test_an_interrupted_run_keeps_its_journal_and_the_old_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        run(out, stop_after=2)
    assert out.read_text() == "old"
    assert files(tmp_path) == {"out", "out.journal"}
    assert run(out) == ["s2", "s3"]
    assert out.read_bytes() == OUTPUT
    assert files(tmp_path) == {"out", "out.mentions.jsonl"}
    assert not said


def test_results_come_back_equal(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "x") as journal:
        for result in RESULTS:
            journal.append(result)
    with open_journal(tmp_path / "out", "x") as journal:
        assert [journal.find(name) for name in IDS] == RESULTS
        assert len(journal) == len(RESULTS)
        assert journal.proven
        assert list(journal.results(IDS)) == RESULTS


def test_results_in_any_order_are_read_in_that_of_the_input(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "x") as journal:
        for at in (2, 0, 3, 1):
            journal.append(RESULTS[at])
        assert list(journal.results(IDS)) == RESULTS
        journal.append(RESULTS[0].model_copy(update={"problems": ("done again",)}))
        assert next(journal.results(IDS)).problems == ("done again",)
        assert list(journal.results(["s2", "s1"])) == [RESULTS[2], RESULTS[1]]


def test_another_fingerprint_starts_afresh_and_keeps_the_journal(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=2)
    first = (tmp_path / "out.journal").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", mark="other", stop_after=3)
    second = (tmp_path / "out.journal").read_bytes()
    assert run(tmp_path / "out", mark="third") == ["s0", "s1", "s2", "s3"]
    assert files(tmp_path) == {"out", "out.mentions.jsonl", "out.journal.1", "out.journal.2"}
    assert (tmp_path / "out.journal.1").read_bytes() == first
    assert (tmp_path / "out.journal.2").read_bytes() == second
    assert said == [
        "out.journal belongs to a run with other settings or sentences, or of another version: kept as "
        f"out.journal.{n}; this run starts from the beginning"
        for n in (1, 2)
    ]


def test_results_that_cannot_be_read_are_kept_aside_and_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=3)
    path = tmp_path / "out.journal"
    header, first, second, third = path.read_bytes().splitlines(keepends=True)
    damaged = header + first + second.replace(b'"mentions"', b'"findings"') + third
    path.write_bytes(damaged)
    assert run(tmp_path / "out") == ["s1", "s2", "s3"]
    assert (tmp_path / "out.journal.1").read_bytes() == damaged
    assert said == [
        "out.journal has 2 results that cannot be read: kept as out.journal.1; they are made again"
    ]


def test_a_journal_that_was_removed_before_it_was_locked_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before may remove its finished journal between the opening and the locking of it."""
    path = tmp_path / "out.journal"
    lock, n_locked = Journal._lock, 0

    def lock_too_late(journal: Journal) -> None:
        nonlocal n_locked
        n_locked += 1
        if n_locked == 1:
            path.unlink()
        lock(journal)

    monkeypatch.setattr(Journal, "_lock", lock_too_late)
    with Journal(tmp_path / "out", "print", said.append) as journal:
        assert n_locked == 2
        journal.append(SentenceResult(sentence_id="s0"))
        assert path.read_bytes().count(b"\n") == 2


def test_a_kept_journal_goes_on_once_it_has_its_name_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=2)
    run(tmp_path / "out", mark="other")
    (tmp_path / "out.journal.1").rename(tmp_path / "out.journal")
    assert run(tmp_path / "out") == ["s2", "s3"]


def test_the_journal_of_another_run_that_did_nothing_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=1)
    header = (tmp_path / "out.journal").read_bytes().splitlines(keepends=True)[0]
    (tmp_path / "out.journal").write_bytes(header)
    assert run(tmp_path / "out", mark="other") == ["s0", "s1", "s2", "s3"]
    assert files(tmp_path) == {"out", "out.mentions.jsonl"}
    assert not said


@pytest.mark.parametrize(
    "content", [b"some notes\nof mine\n", b'{"journal": 2, "fingerprint": "same"}\n{}\n']
)
def test_what_is_no_journal_of_this_version_is_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.journal").write_bytes(content)
    assert run(tmp_path / "out") == ["s0", "s1", "s2", "s3"]
    assert (tmp_path / "out.journal.1").read_bytes() == content
    assert len(said) == 1


def test_a_journal_cut_at_any_byte_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # hundreds of runs, none of which needs the disk
    whole = tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        run(whole, stop_after=3)
    content = (tmp_path / "whole.journal").read_bytes()
    line_ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    out, journal = tmp_path / "out", tmp_path / "out.journal"
    for length in range(len(content) + 1):
        journal.write_bytes(content[:length])
        out.unlink(missing_ok=True)
        n_kept = max(sum(end <= length for end in line_ends) - 1, 0)  # less the header
        assert run(out) == ["s0", "s1", "s2", "s3"][n_kept:]
        assert out.read_bytes() == OUTPUT
        assert mentions_path(out).read_bytes() == MENTIONS
        assert not journal.exists()


def test_a_damaged_line_ends_what_is_taken_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=3)
    journal = tmp_path / "out.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1] + b"\0" * 20 + b"\n" + lines[3])
    assert run(tmp_path / "out") == ["s1", "s2", "s3"]


def test_a_run_killed_just_before_the_journal_is_removed_finishes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=3)
    with open_journal(tmp_path / "out", "same") as journal:
        journal.append(RESULTS[3])
    (tmp_path / "out").write_bytes(OUTPUT)
    assert run(tmp_path / "out") == []
    assert (tmp_path / "out").read_bytes() == OUTPUT


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_loses_no_finished_sentence(tmp_path: Path) -> None:
    program = f"""
        import os, signal
        from pathlib import Path
        from constrained_ner.runs.journal import Journal, SentenceResult
        journal = Journal(Path({str(tmp_path)!r}) / "out", "same", print)
        journal.append(SentenceResult.model_validate_json({RESULTS[0].model_dump_json()!r}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run(tmp_path / "out") == ["s1", "s2", "s3"]
    assert (tmp_path / "out").read_bytes() == OUTPUT


def test_a_run_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=0)
    assert files(tmp_path) == set()


def test_no_results_are_no_results(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "x") as journal:
        assert list(journal.results([])) == []
        journal.remove()
    assert files(tmp_path) == set()


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "out", "x"),
        pytest.raises(OutputError, match=r"out\.journal: in use: another run is writing the same output"),
    ):
        open_journal(tmp_path / "out", "x")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "results" / "real")
    with open_journal(tmp_path / "out") as journal:
        journal.append(RESULTS[0])
    assert files(tmp_path / "results") == {"real.journal"}


# What cannot be written is refused before any work


def test_a_folder_or_a_device_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        open_journal(tmp_path, "x")
    with pytest.raises(OutputError, match="it is not a regular file"):
        open_journal(os.devnull, "x")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.out: cannot be written: there is no folder .*nowhere"):
        open_journal(tmp_path / "nowhere" / "out", "x")


def test_permissions_are_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a superuser may do anything
    with pytest.raises(OutputError, match="out: cannot be written: Permission denied"):
        require_writable(tmp_path / "out")


def test_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "out.journal").mkdir()
    with pytest.raises(OutputError, match=r"out\.journal: cannot be written: Is a directory"):
        open_journal(tmp_path / "out", "x")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    def chunks():  # type: ignore[no-untyped-def]
        yield "new"
        raise OSError(28, "No space left on device")

    (tmp_path / "out").write_text("old")
    with pytest.raises(OutputError, match="out: cannot be written: No space left on device"):
        write_atomically(tmp_path / "out", chunks())
    assert (tmp_path / "out").read_text() == "old"
    assert files(tmp_path) == {"out"}


def test_a_full_disk_is_one_error_and_what_was_written_resumes(tmp_path: Path) -> None:
    """The largest file that may be written ends in the middle of a result."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with open_journal(tmp_path / "out", "same") as journal:
            for number in range(1000):
                journal.append(SentenceResult(sentence_id=f"s{number}"))

    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"out\.journal: cannot be written: File too large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with open_journal(tmp_path / "out", "same") as journal:
        n_kept = len(journal)
        assert all(journal.find(f"s{number}") for number in range(n_kept))
    assert n_kept > 10


# Counting and fingerprints


def test_a_result_is_all_that_a_run_keeps_of_a_sentence() -> None:
    mentions = (
        Mention((Span(0, 4),), "drug", "iron", provenance="exact"),
        Mention((Span(5, 9),), "group", "zinc", provenance="fuzzy", score=0.9),
    )
    annotated = Annotated(
        Sentence("s", "iron zinc", mentions), Effort(n_passes=2), problems=("odd",), verbatim=False
    )
    result = SentenceResult.of(annotated)
    assert (result.sentence_id, result.failure, result.problems) == ("s", None, ("odd",))
    assert result.found() == list(mentions)
    assert result.effort["n_passes"] == 2
    assert result.effort["n_verbatim"] == 0
    assert SentenceResult.of(Annotated(Sentence("s", "x"), failure="no")).failure == "no"


def test_a_result_that_is_settled_counts_what_is_gone() -> None:
    settled = RESULTS[0].settled(Sentence("s0", "", (RESULTS[0].found()[1],)))
    assert [m.text for m in settled.mentions] == ["zinc"]
    assert settled.effort == {"legal_mass": 0.1, "n_doubtful": 1}


def test_fingerprints_tell_options_and_texts_apart() -> None:
    base = fingerprint({"model": "m", "seed": 0}, "texts")
    assert base == fingerprint({"seed": 0, "model": "m"}, "texts")
    others = [
        fingerprint({"model": "m", "seed": 1}, "texts"),
        fingerprint({"model": "m", "seed": 0}, "other"),
    ]
    assert len({base, *others}) == 3


def test_mentions_come_back_from_their_file(tmp_path: Path) -> None:
    run(tmp_path / "out")
    found = read_mentions(mentions_path(tmp_path / "out"))
    assert found == [
        (result.sentence_id, record.mention()) for result in RESULTS for record in result.mentions
    ]
    assert found[0][1].margins == ((-1.1,),)
    assert found[1][1].score == 0.9


def test_pieces_of_a_discontinuous_name_are_kept() -> None:
    mention = Mention((Span(0, 5), Span(10, 14)), "group", "cough cold", 0.123456789, "exact")
    record = MentionRecord.model_validate_json(MentionRecord.of("s", mention).line())
    assert record.mention().spans == mention.spans
    assert record.mention().confidence == 0.123457


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: not JSON"),
        ('{"sentence":"s"}', "line 2: start: missing"),
        ('{"sentence":"s","start":4,"end":4,"text":"","type":"t","provenance":"exact"}', "line 2: span 4-4"),
        (
            '{"sentence":"s","start":0,"end":4,"text":"","type":"t","provenance":"exact","confidence":2}',
            "line 2: confidence: must be at most 1, got 2",
        ),
    ],
)
def test_a_mentions_file_that_does_not_fit_is_named_with_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "out.mentions.jsonl"
    path.write_bytes(MENTIONS.splitlines(keepends=True)[0] + line.encode() + b"\n")
    with pytest.raises(InputError, match=message) as caught:
        read_mentions(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_mentions_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="llm-NERC writes it"):
        read_mentions(tmp_path / "out.mentions.jsonl")
