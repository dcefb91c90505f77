import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import InputError, OutputError
from constrained_ner.files import require_writable, write_atomically
from constrained_ner.formats.mentions import MentionRecord, mentions_path, read_mentions
from constrained_ner.runs.journal import Journal, SentenceResult, fingerprint

RESULTS = [
    SentenceResult(
        sentence_id="s0",
        lines=("s0|0-3|iron|drug", "s0|9-12|zinc|drug"),
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
    SentenceResult(sentence_id="s3", lines=("s3|2-4|β é|drug",), by_type={"drug": 1}, problems=("odd",)),
]
MENTIONS = (
    b'{"sentence":"s0","start":0,"end":4,"text":"iron","type":"drug","confidence":0.75,'
    b'"provenance":"constrained","margins":[[-1.1]]}\n'
    b'{"sentence":"s0","start":9,"end":13,"text":"zinc","type":"drug","provenance":"fuzzy","score":0.9}\n'
)
OUTPUT = "s0|0-3|iron|drug\ns0|9-12|zinc|drug\ns3|2-4|β é|drug\n".encode()


def run(out: Path, mark: str = "same", stop_after: int | None = None) -> list[str]:
    """A run that annotates what is not finished; returns the ids of what it had to do."""
    done = []
    with Journal(out, mark) as journal:
        for result in RESULTS[len(journal.finished) :]:
            if len(done) == stop_after:
                raise KeyboardInterrupt
            journal.append(result)
            done.append(result.sentence_id)
        journal.finish()
    return done


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


def test_results_come_back_equal(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", "x") as journal:
        for result in RESULTS:
            journal.append(result)
    with Journal(tmp_path / "out", "x") as journal:
        assert list(journal.finished) == RESULTS
        assert list(journal.results()) == RESULTS


def test_another_fingerprint_starts_afresh(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=2)
    assert run(tmp_path / "out", mark="other") == ["s0", "s1", "s2", "s3"]


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
    with Journal(tmp_path / "out", "same") as journal:
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
        journal = Journal(Path({str(tmp_path)!r}) / "out", "same")
        journal.append(SentenceResult(sentence_id="s0", lines=("s0|0-3|iron|drug", "s0|9-12|zinc|drug")))
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


def test_no_sentences_give_an_empty_output(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", "x") as journal:
        journal.finish()
    assert (tmp_path / "out").read_bytes() == b""
    assert files(tmp_path) == {"out", "out.mentions.jsonl"}


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "out", "x"),
        pytest.raises(OutputError, match=r"another run is writing it \(out\.journal is in use\)"),
    ):
        Journal(tmp_path / "out", "x")


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "real").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "results" / "real")
    run(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "results" / "real").read_bytes() == OUTPUT
    assert mentions_path(tmp_path / "out").read_bytes() == MENTIONS


# What cannot be written is refused before any work


def test_a_folder_or_a_device_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        Journal(tmp_path, "x")
    with pytest.raises(OutputError, match="it is not a regular file"):
        Journal(os.devnull, "x")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.out: cannot be written: there is no folder .*nowhere"):
        Journal(tmp_path / "nowhere" / "out", "x")


def test_permissions_are_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a superuser may do anything
    with pytest.raises(OutputError, match="out: cannot be written: Permission denied"):
        require_writable(tmp_path / "out")


def test_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "out.journal").mkdir()
    with pytest.raises(OutputError, match=r"out\.journal: cannot be written: Is a directory"):
        Journal(tmp_path / "out", "x")


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
        with Journal(tmp_path / "out", "same") as journal:
            for number in range(1000):
                journal.append(SentenceResult(sentence_id=f"s{number}"))

    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"out\.journal: cannot be written: File too large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Journal(tmp_path / "out", "same") as journal:
        ids = [result.sentence_id for result in journal.finished]
    assert ids == [f"s{number}" for number in range(len(ids))]
    assert len(ids) > 10


# Counting and fingerprints


def test_a_result_counts_its_mentions() -> None:
    mentions = (
        Mention((Span(0, 4),), "drug", "iron", provenance="exact"),
        Mention((Span(5, 9),), "group", "zinc", provenance="fuzzy", score=0.9),
        Mention((Span(10, 14),), "drug", "gold", provenance="exact"),
    )
    result = SentenceResult.of(
        Sentence("s", "iron zinc gold", mentions), ["a", "b", "c"], effort={"n_passes": 2}
    )
    assert result.by_type == {"drug": 2, "group": 1}
    assert result.by_provenance == {"exact": 2, "fuzzy": 1}
    assert result.effort == {"n_passes": 2}


def test_fingerprints_tell_options_and_texts_apart() -> None:
    sentences = [Sentence("a", "x"), Sentence("b", "y")]
    base = fingerprint({"model": "m", "seed": 0}, sentences)
    assert base == fingerprint({"seed": 0, "model": "m"}, sentences)
    others = [
        fingerprint({"model": "m", "seed": 1}, sentences),
        fingerprint({"model": "m", "seed": 0}, sentences[:1]),
        fingerprint({"model": "m", "seed": 0}, sentences[::-1]),
        fingerprint({"model": "m", "seed": 0}, [Sentence("a", "xb"), Sentence("", "y")]),
    ]
    assert len({base, *others}) == 5


def test_mentions_come_back_from_their_file(tmp_path: Path) -> None:
    run(tmp_path / "out")
    found = read_mentions(mentions_path(tmp_path / "out"))
    assert found == [("s0", record.mention()) for record in RESULTS[0].mentions]
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
        ("nonsense", "line 2: line: Invalid JSON"),
        ('{"sentence":"s"}', "line 2: start: Field required"),
        ('{"sentence":"s","start":4,"end":4,"text":"","type":"t","provenance":"exact"}', "line 2: span 4-4"),
        (
            '{"sentence":"s","start":0,"end":4,"text":"","type":"t","provenance":"exact","confidence":2}',
            "less",
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
