"""The benchmark of peers: how answers are scored, and what becomes of a peer that does not run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).parents[3] / "benchmarks" / "peers"
sys.path.insert(0, str(HERE))

from run import Outcome, Peer, ask, job_of, read_answers, row  # noqa: E402
from scoring import Figures, figures  # noqa: E402
from seam import Answer  # noqa: E402

from constrained_ner.data import Mention, Sentence, Span  # noqa: E402

GOLD = [
    Sentence("s1", "Give iron or gold.", (Mention((Span(5, 9),), "drug", "iron"),)),
    Sentence("s2", "Avoid NSAIDs.", (Mention((Span(6, 12),), "group", "NSAIDs"),)),
]

ANSWERS = """\
{"id": "s1", "names": [{"text": "iron", "type": "brand", "start": 5, "end": 9}, \
{"text": "Gold", "type": "drug", "start": 13, "end": 17}, \
{"text": "silver", "type": "drug", "start": null, "end": null}, \
{"text": null, "type": "", "start": null, "end": null}], "lost": null, "seconds": 0.5, "n_tokens": 7}
{"id": "s2", "names": [{"text": "NSAIDs", "type": "group", "start": 6, "end": 12}, \
{"text": "far", "type": "drug", "start": 90, "end": 93}], "lost": "cut off", "seconds": 0.5, "n_tokens": 3}
"""


@pytest.fixture
def answers(tmp_path: Path) -> list[Answer]:
    file = tmp_path / "answers.jsonl"
    file.write_text(ANSWERS)
    return read_answers(file)


def test_names_count_where_they_are_put(answers: list[Answer]) -> None:
    found = figures(GOLD, answers)
    assert found.found == 3  # iron, gold, NSAIDs; one is outside of the sentence, two have no place
    assert found.typed == pytest.approx(100 * 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert found.untyped == pytest.approx(100 * 2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert found.misplaced == 2  # Gold is not gold; nothing stands at 90
    assert found.absent == 4  # Gold, silver, far, and one that the peer does not name
    assert found.lost == 1


def test_answers_of_other_sentences_are_refused(answers: list[Answer]) -> None:
    with pytest.raises(ValueError, match="2 answers for 2 sentences"):
        figures(GOLD[::-1], answers)


def test_a_row_has_what_a_sentence_costs() -> None:
    found = Figures(40.0, 80.0, 3, 1, 2, 1)
    assert row("x", Outcome(10, 0.5), found, 2) == ("x", "40.0", "80.0", "3", "1", "2", "1", "5.0", "0.50")


def test_a_peer_that_is_not_installed_is_named_with_the_reason(tmp_path: Path) -> None:
    script = tmp_path / "other_peer.py"
    script.write_text("import seam_of_another_package\n")
    peer = Peer("x", str(script), server=False)
    outcome = ask(peer, job_of(GOLD, GOLD, Path("no.gguf")), sys.executable, tmp_path / "x.jsonl")
    assert outcome.failure == "ModuleNotFoundError: No module named 'seam_of_another_package'"
    cells = row("x", outcome, None, 2)
    assert cells[0] == f"x: does not run: {outcome.failure}"
    assert set(cells[1:]) == {"-"}


def test_this_package_answers_a_job_with_the_bundled_model(tmp_path: Path) -> None:
    """The same script, as a process, as a peer runs."""
    from constrained_ner.annotation.annotator import bundled_model

    text = "Effect of aspirin on beta-blockers."
    job = replace(job_of(GOLD, [], Path(bundled_model())), sentences=[{"id": "s1", "text": text}])
    path = tmp_path / "own.jsonl"
    outcome = ask(Peer("x", "own_peer.py", ("tags",), own=True, server=False), job, sys.executable, path)
    assert outcome.failure is None
    (found,) = read_answers(path)
    places = [(name.text, name.start, name.end) for name in found.names]
    assert places == [("aspirin", 10, 17), ("beta-blockers", 21, 34)]
    assert found.lost is None
    assert outcome.n_tokens > 0
