import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from constrained_ner.data import Mention, Provenance, Span
from constrained_ner.errors import InputError, OutputError
from constrained_ner.files import file_hash
from constrained_ner.formats.mentions import MentionRecord
from constrained_ner.runs.journal import SentenceResult
from constrained_ner.runs.record import RunRecord, Totals, installed_versions, record_path


def mention(sentence_id: str, start: int, type_: str, provenance: Provenance) -> MentionRecord:
    return MentionRecord.of(
        sentence_id, Mention((Span(start, start + 4),), type_, "iron", provenance=provenance)
    )


RESULTS = [
    SentenceResult(
        sentence_id="s0",
        mentions=(
            mention("s0", 0, "drug", "exact"),
            mention("s0", 5, "group", "fuzzy"),
            mention("s0", 10, "drug", "exact"),
        ),
        effort={"n_passes": 3, "n_tokens": 20, "n_decisions": 4, "legal_mass": 3.5},
        problems=("unknown tag <x>",),
    ),
    SentenceResult(sentence_id="s1", failure="too long"),
    SentenceResult(
        sentence_id="s2",
        mentions=(mention("s2", 0, "drug", "exact"),),
        effort={"n_passes": 1, "n_tokens": 5, "n_decisions": 1, "legal_mass": 1.0},
    ),
]


def record(results: list[SentenceResult]) -> RunRecord:
    totals = Totals()
    for result in results:
        totals.add(result)
    return RunRecord(
        **totals.fields(),
        started="2025-01-01T00:00:00Z",
        input="devel.xml",
        output="out",
        options={"decoder": "copy-draft", "limit": None},
        schema_hash="a",
        prompt_hash="b",
        model_hash=None,
        elapsed_s=1.5,
        n_resumed=1,
        versions=installed_versions(),
    )


def test_a_record_adds_up_the_sentences() -> None:
    r = record(RESULTS)
    assert (r.n_sentences, r.n_mentions, r.n_passes, r.n_tokens) == (3, 4, 4, 25)
    assert r.n_mentions_by_type == {"drug": 3, "group": 1}
    assert r.n_mentions_by_provenance == {"exact": 3, "fuzzy": 1}
    assert r.legal_share == 0.9
    assert r.failures == (("s1", "too long"),)
    assert r.problems == (("s0", "unknown tag <x>"),)
    assert (r.input, r.output) == ("devel.xml", "out")


def test_a_run_without_decisions_has_no_legal_share() -> None:
    assert record([]).legal_share is None


def test_a_share_that_some_sentences_lack_is_not_given() -> None:
    """Such as after an interruption, if only one of the two runs had --legal-mass."""
    unmeasured = SentenceResult(sentence_id="s3", effort={"n_passes": 1, "n_decisions": 2})
    r = record([*RESULTS, unmeasured])
    assert r.legal_share is None
    assert "legal_mass" not in r.effort
    assert r.effort["n_decisions"] == 7
    nothing_decided = SentenceResult(sentence_id="s4", effort={"n_passes": 0, "n_decisions": 0})
    assert record([*RESULTS, nothing_decided]).legal_share == 0.9


def test_a_record_round_trips(tmp_path: Path) -> None:
    path = record_path(tmp_path / "out")
    assert path.name == "out.run.json"
    record(RESULTS).save(path)
    assert RunRecord.load(path) == record(RESULTS)
    assert json.loads(path.read_text())["options"] == {"decoder": "copy-draft", "limit": None}


def test_fields_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    plain = record(RESULTS).model_dump(mode="json") | {"new_field": 1}
    (tmp_path / "r").write_text(json.dumps(plain))
    assert RunRecord.load(tmp_path / "r") == record(RESULTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not the record of a run: not JSON: "),
        ("{}", "not the record of a run: started: missing\nllm-NERC writes"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r").write_text(content)
    with pytest.raises(InputError, match=message):
        RunRecord.load(tmp_path / "r")


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        RunRecord.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        file_hash(tmp_path / "nothing")
    with pytest.raises(OutputError, match="r: cannot be written: No such file"):
        record(RESULTS).save(tmp_path / "nowhere" / "r")


def test_file_hash_is_sha256_for_files_and_follows_content_and_names_of_folders(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    before = file_hash(tmp_path)
    assert before == file_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert file_hash(tmp_path) != before


def test_versions_are_read_without_importing() -> None:
    versions = installed_versions()
    assert versions["python"].startswith("3.")
    assert versions["pydantic"].startswith("2.")
    program = (
        "import sys; from constrained_ner.runs.record import installed_versions; before = set(sys.modules);"
        "installed_versions(); new = set(sys.modules) - before;"
        "assert not new & {'torch', 'transformers', 'llama_cpp', 'outlines'}, new"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
