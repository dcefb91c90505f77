"""Learning curves: read from the records of trainings, and drawn on the page of a report."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from commands import run_command
from test_report import gold, write_run

from constrained_ner.cli import report as command
from constrained_ner.errors import InputError
from constrained_ner.experiments.learning import LearningPoint, learning_curves


def training(folder: Path, n: int, micro: float, loss: str = "legal", **settings: object) -> None:
    folder.mkdir(parents=True)
    chosen = {"model": "models/tiny", "loss": loss, "seed": 0, **settings}
    best = {"eval_micro_f1": micro, "eval_macro_f1": micro / 2, "epoch": 2.0}
    (folder / "training.json").write_text(json.dumps({"settings": chosen, "n_examples": n, "best": best}))


@pytest.fixture
def tunings(tmp_path: Path) -> Path:
    folder = tmp_path / "tunings"
    for n, micro in ((1000, 0.8), (50, 0.3), (200, 0.6)):
        training(folder / "legal" / str(n), n, micro)
        training(folder / "completion" / str(n), n, micro / 2, "completion")
    training(folder / "legal" / "200-seed-1", 200, 0.7)
    training(folder / "full", 50, 0.1, full=True)
    return folder


def test_points_of_a_series_are_in_order_and_seeds_are_one_point(tunings: Path) -> None:
    curves = learning_curves(tunings)
    assert list(curves) == ["tiny, completion loss", "tiny, legal loss", "tiny, legal loss, all weights"]
    legal = curves["tiny, legal loss"]
    assert [point.n_examples for point in legal] == [50, 200, 1000]
    assert legal[1].micro == (pytest.approx(0.65), 0.6, 0.7)
    assert legal[2] == LearningPoint(1000, (0.8, 0.8, 0.8), (0.4, 0.4, 0.4))


def test_a_report_draws_them(tunings: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a.out", gold())
    page = tmp_path / "page.html"
    assert run_command(command.main, run, "--learning", tunings, "--out", page) == 0
    html = page.read_text()
    assert "F1 on the validation file of each training" in html
    assert "micro F1, tiny, legal loss: 50: 30.0, 200: 65.0, 1000: 80.0" in html
    pictures = [part.split('"')[0] for part in html.split("data:image/svg+xml;base64,")[1:]]
    assert any("sentences learnt from" in base64.b64decode(picture).decode() for picture in pictures)


def test_a_folder_without_trainings_and_a_broken_record_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no finished training \(training\.json\) in it"):
        learning_curves(tmp_path)
    (tmp_path / "training.json").write_text('{"n_examples": 3}')
    with pytest.raises(InputError, match=r"training\.json: not the record of a training"):
        learning_curves(tmp_path)
