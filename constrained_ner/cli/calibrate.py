"""`bin/calibrate`: fit the temperature that makes a model's confidences true, and store it with the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import InputError
from ..evaluation import Reliability
from ..evaluation.calibration import Confidences, fit_temperature, judge
from ..formats.ddi import read_ddi
from ..runs.record import RunRecord, record_path
from .evaluate import read_confidences
from .run import run


def calibrate(
    gold: Annotated[Path, typer.Argument(help="DDI XML that the model has not learnt from.")],
    predicted: Annotated[
        Path, typer.Argument(help="What llm-NERC wrote for it with --no-consistency --min-confidence 0.")
    ],
    store: Annotated[
        Path | None,
        typer.Option("--store", help="GGUF file, model folder or adapter folder to store it with."),
    ] = None,
) -> None:
    """Fit a temperature to the confidences of PREDICTED, and print how true they are without and with it.

    It changes confidences alone: what a model finds stays the same.
    """
    right = [(s.id, mention) for document in read_ddi(gold) for s in document for mention in s.mentions]
    if not right:
        raise InputError(f"{gold}: no entities; nothing says which mentions are right")
    _require_all_alone(predicted)
    found = read_confidences(predicted)
    mentions = [mention for _, mention in found]
    _, is_right = judge(right, found)
    if not any(margins for mention in mentions for margins in mention.margins):
        raise InputError(f"{predicted}: no mention that the model had a choice about")
    temperature = round(fit_temperature(mentions, is_right), 3)
    confidences = Confidences(mentions)
    print(f"temperature {temperature} from {len(mentions)} mentions, {np.mean(is_right):.1%} of them right")
    for value in (1.0, temperature):
        print(f"\nat temperature {value}:\n{Reliability.of(confidences.at(value), is_right).table()}", end="")
    if store:
        from ..backends.temperature import store_temperature

        print(f"stored in {store_temperature(store, temperature)}", file=sys.stderr)


def _require_all_alone(predicted: Path) -> None:
    """Raise InputError if a run's record says that confidences are not the model's own, or not all there."""
    record = record_path(predicted)
    options = RunRecord.load(record).options if record.exists() else {}
    if options.get("consistency") or options.get("min_confidence"):
        raise InputError(
            f"{predicted}: has not every mention with the confidence of its own sentence; "
            "run llm-NERC again with --no-consistency --min-confidence 0"
        )


def main() -> None:
    """Entry point."""
    run(calibrate)
